"""How tools do on labelled real code: the lists, the trees, the tools, the score. `../realcode.py` is the command."""
