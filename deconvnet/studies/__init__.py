"""The paper's other experiments and its critics' tests, one a file: `run(...)` returns arrays, `plot(result)` a figure.

    >>> from deconvnet.studies import occlude
    >>> result = occlude.run(net, "dog.jpg")
    >>> occlude.plot(result).savefig("occlude.png")

Every result is a frozen dataclass that ends in `settings`, a dict of what was asked of what: model, weights, layer, picture.
`study.py` turns any of them into JSON, arrays or a saved figure.
"""
