"""`comparison.html`: one page that holds all it needs, and opens without a network."""

from importlib.resources import files
from pathlib import Path

from miner.comparison.comparison import Comparison
from miner.comparison.page_data import page_data
from miner.comparison.pictures import pictures
from miner.comparison.summary import counts

_SCRIPTS = ("controls", "runs_table", "differences", "quality", "curves", "pictures", "page")


def page(comparison: Comparison) -> str:
    """The page's whole text. Everything read from files is escaped by the template."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("miner.comparison", "page")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment.get_template("page.html.j2").render(
        counts=counts(comparison),
        data=page_data(comparison),
        pictures=pictures(comparison.results),
        own_style=_own("page.css"),
        own_script="\n".join(_own(f"{name}.js") for name in _SCRIPTS),
        **_libraries(),
    )


def _own(name: str) -> str:
    return (files("miner.comparison") / "page" / name).read_text()


def _libraries() -> dict[str, str]:
    """Plotly, and DataTables with its extensions as itables packs them for offline use."""
    from itables import options
    from plotly.offline import get_plotlyjs

    tables = Path(options.dt_bundle)
    return {
        "plotly_script": get_plotlyjs(),
        "tables_script": tables.read_text(),
        "tables_style": tables.with_suffix(".css").read_text(),
    }
