"""What an answer is worth, as numbers from 0 to 1: for trainers that learn from rewards.

- `reward`: `rewards` of answers about records, a weighted mean of terms; `weights`: of the terms.
- `attempts`: answers read and matched once, for all terms; `pairs`: which box goes with which.
- `form`, `found`, `nearness`, `count`, `outlines`: the terms. Each says where it comes from and
  what a policy can cheat it with; `docs/rewards.md` has the same for users.
"""
