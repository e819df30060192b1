"""The REST services of TCIA: NBIA v1, v2, v4 and Advanced, and TCIA v3: endpoint tables, dialects and values."""
