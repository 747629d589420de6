"""The architecture, held by reading every import of the package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "asyncstack"

# What every layer may use, then the layers from the bottom up, then what is put on top of them. Applications
# program against asyncio's calls, so `names` and `calls` lie below them; those that give addresses hear `events`.
FOUNDATION = {"config", "counters", "errors", "timing", "version"}
LAYERS = ["wire", "link", "network", "transport", "events", "names", "addrinfo", "calls", "application"]
BOTTOM, TOP = 0, len(LAYERS) + 1

# These read no clock and do no I/O: `now` comes in; bytes, events and deadlines come out.
SANS_IO = {
    "asyncstack.application.dhcp.answering",
    "asyncstack.application.dhcp.asking",
    "asyncstack.application.dhcp.bindings",
    "asyncstack.application.dhcp.lease",
    "asyncstack.application.dhcp.machine",
    "asyncstack.application.dhcp.outcomes",
    "asyncstack.application.dhcp.pool",
    "asyncstack.application.dhcp.retry",
    "asyncstack.application.dhcp.serving",
    "asyncstack.application.dhcp.states",
    "asyncstack.application.dhcp6.duid",
    "asyncstack.application.dhcp6.lease",
    "asyncstack.application.dhcp6.machine",
    "asyncstack.application.dhcp6.retransmission",
    "asyncstack.application.dhcp6.states",
    "asyncstack.application.dns.cache",
    "asyncstack.application.dns.lookup",
    "asyncstack.application.dns.messages",
    "asyncstack.application.dns.queries",
    "asyncstack.application.dns.zone",
    "asyncstack.application.dns.zones",
    "asyncstack.application.radv.times",
    "asyncstack.link.claims",
    "asyncstack.application.tftp.netascii",
    "asyncstack.application.tftp.terms",
    "asyncstack.application.tftp.transfer",
    "asyncstack.link.neighbors",
    "asyncstack.link.segmentation",
    "asyncstack.network.addresses",
    "asyncstack.network.dad",
    "asyncstack.network.fragments",
    "asyncstack.network.identifiers",
    "asyncstack.network.lifetimes",
    "asyncstack.network.redirects",
    "asyncstack.network.pmtu",
    "asyncstack.network.prefixes",
    "asyncstack.network.rdnss",
    "asyncstack.network.routers",
    "asyncstack.network.routing",
    "asyncstack.network.slaac",
    "asyncstack.network.solicitor",
}
TCP_SHELLS = {
    "connecting",
    "endpoint",
    "layer",
    "listener",
    "options",
    "polling",
    "server",
    "strays",
    "transport",
}

HEAVY = {"dns", "uvloop", "dpkt", "aiofiles", "httptools", "websockets", "pyroute2", "click", "rich"}

LINE_LIMIT = 500


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(), str(path)) for name, path in MODULES.items()}


def rank(module: str) -> int:
    part = module.split(".")[1] if "." in module else ""
    if part in FOUNDATION:
        return BOTTOM
    return LAYERS.index(part) + 1 if part in LAYERS else TOP


def is_sans_io(module: str) -> bool:
    if module.startswith("asyncstack.transport.tcp."):
        return module.split(".")[3] not in TCP_SHELLS
    return module.startswith("asyncstack.wire.") or module in SANS_IO


def imported(node: ast.AST) -> list[str]:
    """The modules that an import statement names; an attribute of a module counts as that module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"a relative import in line {node.lineno}"
        full = [f"{node.module}.{alias.name}" for alias in node.names]
        return [name if name in MODULES else node.module for name in full]
    return []


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports_of(node: ast.AST, *, for_types: bool) -> list[str]:
    """Every module imported anywhere below `node`, inside functions too."""
    found = imported(node)
    for child in ast.iter_child_nodes(node):
        if for_types or not is_type_checking(child):
            found += imports_of(child, for_types=for_types)
    return found


def test_the_whole_package_is_read():
    assert {f"asyncstack.wire.{name}" for name in ("checksum", "ipv4", "ipv6", "tcp", "udp")} <= set(MODULES)
    assert {module for module in SANS_IO if module not in MODULES} == set()
    assert {name for name in FOUNDATION if f"asyncstack.{name}" not in MODULES} == set()


def test_no_layer_imports_a_higher_one():
    upward = [
        f"{module} imports {target}"
        for module, tree in TREES.items()
        for target in imports_of(tree, for_types=True)
        if target.partition(".")[0] == "asyncstack" and rank(target) > rank(module)
    ]
    assert upward == []


def reachable(module: str) -> set[str]:
    """What importing `module` imports, through modules of our own, packages' `__init__` left out."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        for target in imports_of(TREES[waiting.pop()], for_types=False):
            if target not in seen:
                seen.add(target)
                if target in TREES and MODULES[target].name != "__init__.py":
                    waiting.append(target)
    return seen


def test_protocol_logic_reaches_no_event_loop_and_no_clock():
    pure = [module for module in MODULES if is_sans_io(module)]
    assert "asyncstack.wire.tcp" in pure
    impure = [
        f"{module} reaches {found}"
        for module in pure
        for found in sorted(reachable(module) & {"asyncio", "time"})
    ]
    assert impure == []


def test_importing_asyncstack_imports_no_heavy_package():
    program = f"import asyncstack, sys; print(sorted({HEAVY!r} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (run.stdout.strip(), run.stderr) == ("[]", "")


@pytest.mark.parametrize("module", MODULES)
def test_a_module_fits_in_the_head(module):
    assert len(MODULES[module].read_text().splitlines()) <= LINE_LIMIT


MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MUTABLE_CALLS = {"list", "dict", "set", "bytearray", "deque", "defaultdict", "Counter", "OrderedDict"}


def is_mutable(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return value.func.id in MUTABLE_CALLS
    return isinstance(value, MUTABLE)


def module_state(tree: ast.Module) -> list[str]:
    """Names at module level bound to something mutable, and not written as constants are."""
    found = [f"line {node.lineno}: global" for node in ast.walk(tree) if isinstance(node, ast.Global)]
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if isinstance(node, ast.Assign | ast.AnnAssign) and is_mutable(node.value):
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            found += [
                f"line {node.lineno}: {name}" for name in names if not name.isupper() and name != "__all__"
            ]
    return found


def test_no_module_holds_state():
    state = {module: found for module, tree in TREES.items() if (found := module_state(tree))}
    assert state == {}


def assigned_attributes(tree: ast.Module) -> list[tuple[int, str]]:
    """(line, attribute) of everything that is assigned to or augmented, also in tuples."""
    return [
        (node.lineno, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    ]


def test_the_congestion_window_is_assigned_only_by_its_controllers():
    control = "asyncstack.transport.tcp.congestion"
    elsewhere = [
        f"{module} line {line}: {name}"
        for module, tree in TREES.items()
        for line, name in assigned_attributes(tree)
        if name in ("cwnd", "ssthresh") and not module.startswith(control)
    ]
    assert elsewhere == []
    assert any(name == "cwnd" for _, name in assigned_attributes(TREES[f"{control}.base"]))
