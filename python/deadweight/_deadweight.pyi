from typing import Any

Error: type[Exception]
Work: Any
Model: Any
Run: Any
__version__: str

def load(spec: str, **options: Any) -> Any: ...
def count(activation: Any, weight: Any, **options: Any) -> Any: ...
