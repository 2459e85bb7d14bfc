"""Cut rows in two by groups or by time, of which the second part is held out."""

import numpy as np

N_ORDERS = 20  # tried at most; seeds would cut alike if the nearest of very many counted
NEAR_ENOUGH = 0.05  # of the rows that are wanted


def cut_groups(groups: np.ndarray, fraction: float, random_state: int, n_left: int = 1) -> np.ndarray:
    """[rows], which of them are held out: whole groups, with as near to `fraction` of the rows as they allow.

    Groups are taken in random order, each where it brings the share nearer; of up to `N_ORDERS` orders the first counts
    that is near enough, else the nearest. `n_left` groups at least are left. All False where there are too few groups.
    """
    codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)[1:]
    n_most = len(sizes) - n_left
    if n_most < 1:
        return np.zeros(len(groups), bool)
    wanted, rng = len(groups) * fraction, np.random.default_rng(random_state)
    nearest: list[int] = []
    smallest_error = np.inf
    for _ in range(N_ORDERS):
        order = rng.permutation(len(sizes))
        held_out = _taken(sizes, order, wanted, n_most)
        error = abs(int(sizes[held_out].sum()) - wanted)
        if error < smallest_error:
            nearest, smallest_error = held_out, error
        if smallest_error <= NEAR_ENOUGH * wanted:
            break
    return np.isin(codes, nearest)


def _taken(sizes: np.ndarray, order: np.ndarray, wanted: float, n_most: int) -> list[int]:
    """The groups that are taken in this order, at least one and at most n_most."""
    taken: list[int] = []
    n_rows = 0
    for group in order.tolist():
        if len(taken) < n_most and abs(n_rows + sizes[group] - wanted) < abs(n_rows - wanted):
            taken.append(group)
            n_rows += sizes[group]
    # where each has more than twice the rows that are wanted, the smallest
    return taken or [int(order[np.argmin(sizes[order])])]


def cut_times(ranks: np.ndarray, fraction: float, n_left: int = 1) -> np.ndarray:
    """[rows], which of them are held out: the latest, with as near to `fraction` of the rows as equal times allow.

    Rows of one time share a part; `n_left` times at least are left. All False where there are too few times.
    """
    in_time = np.sort(ranks)
    firsts = (np.flatnonzero(in_time[1:] != in_time[:-1]) + 1)[n_left - 1 :]  # places where another time begins
    if not len(firsts):
        return np.zeros(len(ranks), bool)
    wanted = len(ranks) - round(len(ranks) * fraction)
    return ranks >= in_time[firsts[np.argmin(np.abs(firsts - wanted))]]
