"""The pictures of the page for a notebook: an open run in, an Altair chart out. No streamlit in here.

    import analysis
    from app import plots

    run = analysis.open_run("demo-language")     any beginning of a run's name, or the path of its folder
    plots.heads(run, "induction")                a score of every head
    plots.head_scores(run, "L1H3")               every score of one head
    plots.head_map(run, "L1H3")                  its queries and keys in one joint map
    plots.head_profile(run, "L1H3")              where it looks, by distance or direction
    plots.attention(run, "L1H3", input_id=0)     its attention on one text or image
    plots.sinks(run)                             which tokens swallow attention, layer by layer

A head is ``"L1H3"`` (layer 1, head 3), with ``stack="text.dec.self"`` where a run has several stacks, or a pair of a
site and an index, ``("text.dec.self.1", 3)``. What the run does not say is not drawn; what cannot be drawn is a
`UserError` of one sentence. The chart functions, titles and units are those of the page (`app.charts`).

Charts can be put side by side (``a | b``), changed like any Altair chart, and saved without a network:
``chart.save("figure.svg")``, ``chart.save("figure.png", ppi=200)``, or as a page that still answers to the pointer,
``chart.save("figure.html", inline=True)``. A PNG has the letters that the fonts of this machine have, an SVG those of
whoever looks at it. A notebook fetches the code that draws charts from the network; where there is none,
``altair.renderers.enable("svg")`` shows still pictures.
"""

from app.plots.of_heads import head_profile, head_scores, heads
from app.plots.of_inputs import attention
from app.plots.of_maps import head_map
from app.plots.of_sinks import sinks

__all__ = ["attention", "head_map", "head_profile", "head_scores", "heads", "sinks"]
