"""What must not happen on any page."""


def watched(page, address: str) -> list[str]:
    """The console errors of the page and its requests to other origins, as they come."""
    faults = []
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url) if not local(request.url, address) else None)
    return faults


def local(url: str, address: str) -> bool:
    return url.startswith((address, "data:", "blob:"))
