"""What the files are called of an ONNX graph that was put in order: the graph, and its weights beside it."""

GRAPH, WEIGHTS = "graph.onnx", "weights.bin"
