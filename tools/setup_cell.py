# On Colab this installs the book's library, unless it is there already.
import importlib.util
import subprocess
import sys

SOURCE = ""  # stamped when the book is published: git+https://…@commit
if importlib.util.find_spec("attend") is None:
    if not SOURCE:
        raise ModuleNotFoundError(
            "This copy does not know where to install `attend` from. Open "
            "the notebook with the site's Colab button, or clone the "
            "repository and run `make lab`."
        )
    install = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, f"attend @ {SOURCE}"], check=True)
