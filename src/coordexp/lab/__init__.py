"""The lab: recipes, seeds and tasks as ordinary runs, and what they are worth together.

- `canvas`, `icons`, `numbers`: pictures whose boxes are exact and lie between the pixels
- `tasks`: the tasks of a study and their pictures on disk
- `study`: the file that says what is run
- `stages`, `execute`, `figures`: one run, its cost and its figures
- `results`: the line of a run, and the file of all lines
- `cells`: all runs, some at a time
- `slots`, `fit`: coord rows fitted to what a base knows where it writes a number
- `graft`: the same from its own answers, and trained on them; once for a base
- `compare`, `report`: verdicts with intervals, and the page, with its HTML in `templates/`
"""
