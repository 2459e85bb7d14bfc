"""Statistics over seeds: functions of arrays, using NumPy and SciPy only.

This is how `compare` reaches its verdict on an arm, and which module computes each step.

1. Pair the seeds (`paired`). For one seed every arm has the same initial kernels, data split and data order, so an arm
   is compared with the baseline seed by seed, which removes the variation that both share. Seeds that only one of the
   two has are left out. If kernels, data, device, optimizer or training settings differ, the arms cannot be paired:
   then Welch's interval and a permutation of the runs replace steps 2 and 3, and equivalence is not tested.
2. How large is the difference? (`intervals`) The mean of the paired differences has a 95 % bootstrap interval, BCa,
   expanded for few seeds and never narrower than Student's t interval. It belongs to one difference, whereas p is
   corrected for the number of arms; so the interval can exclude 0 although the arm is undecided.
3. Is it chance? (`permutation`) p is the share of all ways to flip the signs of the differences whose mean is at least
   as far from 0 as the observed one: all 2^n of them up to 20 seeds, 100,000 random ones beyond. Holm's correction
   accounts for the number of arms that are compared with one baseline. `better` and `worse` need p <= 0.05.
4. Does it matter? (`paired`) Two one-sided t tests, with the same correction, ask whether the difference lies within
   the margin. If p <= 0.05 the arm is `equivalent`, even where the difference is real, provided that rare failures are
   excluded: there are at least 29 seeds, of which a failure on one seed in ten shows in 95 % of studies, and no seed
   differs by more than 10 margins. Otherwise it is `undecided`, and the sentence says which of the two is lacking.
   A failure on one seed in fifty stays unseen in 56 % of studies of 29 seeds.
5. Otherwise the arm is `undecided` (`power`), with the number of seeds at which differences like these would be decided
   with 80 % power. With fewer seeds than can ever reach p <= 0.05 (6 for one arm, 7 for two or three) it cannot be
   anything else. `identical` is an arm whose metric and learning curves equal the baseline's on every seed.

Where other settings were swept too, `permutation.block_interaction_p` tests whether the answer depends on them, and
over several studies `friedman` ranks the arms.

Simulated studies in `tests/stats` hold the whole: without a true difference at most 6.5 % of studies of ten seeds find
one, with seven arms too; intervals of ten or more seeds contain the true mean in 93 to 97 % of studies; the advised
number of seeds gives 75 to 86 % power. Very skewed differences are beyond that: with ten exponential ones the interval
contains the true mean in 92 % of studies.

Importing `scipy.stats` takes as long as comparing a study, so modules use `scipy.special`, and import `scipy.stats`
only inside functions that few comparisons need.
"""
