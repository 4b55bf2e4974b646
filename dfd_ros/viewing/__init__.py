"""The live page of `dfd view` and the viewer node. Only `page_server` and the page's parts import viser."""
