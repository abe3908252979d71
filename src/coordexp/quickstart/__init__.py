"""A user's day in minutes: a small study on things that the base has never seen, and its page.

- `pipeline`: the study, run by the lab as the product's own commands; `study.yaml` is what is run
- `contender`: those who are compared, as their runs left them
- `outcome`: who points better, in words that the interval supports
- `beliefs`: what the tuned model believes about a few coordinates
- `own_data`: the same on a reader's own data, as commands
- `report`: the page, with its HTML in `templates/`
"""
