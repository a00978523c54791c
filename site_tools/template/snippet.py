"""What is the mean of two dice?"""

import numpy as np


# %% --8<-- [start:throws]
def throws(n_dice: int, glued: bool = False) -> np.ndarray:
    """Sums of all throws of n_dice dice, (6 ** n_dice,); glued: one face, (6,)."""
    faces = np.arange(1, 7, dtype=np.int64)
    if glued:  # the control: without independence
        return n_dice * faces
    return sum(np.meshgrid(*[faces] * n_dice)).ravel()


if __name__ == "__main__":
    print("mean", throws(2).mean(), "variance", round(throws(2).var(), 2))


# %% --8<-- [end:throws]


# %% --8<-- [start:figure]
if __name__ == "__main__":
    import matplotlib.pyplot as plt

    plt.hist(throws(2), bins=11)
    plt.xlabel("sum of two dice")
    plt.ylabel("pairs")
    plt.show()


# %% --8<-- [end:figure]
