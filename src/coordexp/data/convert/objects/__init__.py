"""From a shape to an object of the contract.

`mapping` does it, `outline` has the geometry of polygons, and `mask` makes polygons of masks.
"""
