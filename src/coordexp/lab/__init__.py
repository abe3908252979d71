"""The lab: recipes, seeds and tasks as ordinary runs, and what they are worth together.

- `own_task`: a task of records that lie somewhere already
- `links`: a file in another folder without a copy
- `study_file`, `study_problems`, `study`: the file that says what is run
- `untrained`, `groundwork`: what runs share and what is made before them
- `stages`, `execute`, `figures`: one run, its cost and its figures
- `results`: the line of a run, and the file of all lines
- `cells`: all runs, some at a time
- `slots`, `fit`: coord rows fitted to what a base knows where it writes a number
- `graft`: the same from its own answers, and trained on them; once for a base
- `compare`, `side_by_side`: verdicts with intervals, pictures
- `report`: the page, with its HTML in `templates/`
"""
