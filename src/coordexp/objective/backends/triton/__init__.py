"""The stage-1 loss on a GPU: Triton kernels, and the solver that drives them. Experimental.

- `softmax_rows`: the kernel over whole rows of logits.
- `coord`: the kernel over the bins of one coordinate.
- `solver`: cuts the rows into chunks and lets cuBLAS do the products.

Importing a module here needs triton, which torch for CUDA brings along.
"""
