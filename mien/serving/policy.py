"""What a browser may load for the page: its own files and nothing else."""

# blob: is how a page shows a picture that was never sent.
_RULES = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self' blob:",
    "media-src 'self' blob:",
    "base-uri 'none'",
    "form-action 'none'",
)
POLICY = "; ".join((*_RULES, "frame-ancestors 'none'"))
# Of the page without a server, as it stands in the page itself, where a browser takes no rule about frames. WebAssembly
# is compiled there, and nothing else that is made while the page runs; its worker, a blob, is bound by these rules too.
_WASM = "script-src 'self' 'wasm-unsafe-eval'"
ALONE = "; ".join((*_RULES, "worker-src 'self' blob:")).replace("script-src 'self'", _WASM)
