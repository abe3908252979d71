"""Pictures and pages for people.

- `class_colours`: a colour for each class, from its name.
- `draw`: objects on a picture, by class or true beside predicted, through supervision.
- `page`: a self-contained HTML page out of a Jinja2 template, in which all text is escaped.
- `elements`: what tiles, tables, pictures and filters show.
- `charts`: the geometry of line charts, histograms and bars.
- `samples`: pictures with a text and a table beside each, to browse and to filter by class.
- `answers`: a model's answers beside the truth, to browse and to filter by class and mistake.
- `distributions`: what the model believed about each edge of a box, drawn along the picture.

`templates/` holds all HTML of these: `frame.html.j2`, which every page extends, macros for the
elements, and how a page looks (`page.css`) and the little it does beyond being read (`page.js`). A
page's own template lies in `templates/` beside the module that makes it.
"""
