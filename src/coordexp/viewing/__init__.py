"""Pictures and pages for people.

- `class_colours`: a colour for each class, from its name.
- `draw`: objects on a picture, by class or true beside predicted, through supervision.
- `report`: a self-contained HTML page out of blocks: tables, tiles, pictures, commands.
- `charts`: line charts, histograms and bars, as inline SVG.
- `samples`: pictures with a text and a table beside each, to browse and to filter by class.
- `answers`: a model's answers beside the truth, to browse and to filter by class and mistake.
- `distributions`: what the model believed about each edge of a box, drawn along the picture.
- `page.css`, `page.js`: how a page looks, and the little it does beyond being read.
"""
