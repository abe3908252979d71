"""Pictures with exact boxes, painted from a seed out of what dependencies ship.

- `digits`: handwritten digits on photos; edges are whole pixels
- `canvas`: painting at places between the pixels
- `icons`, `numbers`: pictures painted so, with their exact boxes
- `tree_crowns`: tiles of photographs that a package ships
- `tasks`: all of them as tasks, each with its question, and as files
"""
