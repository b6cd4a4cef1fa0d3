"""Tables with source and date. `headrace.catalog.load` reads them; `headrace.catalog.drivers` answers on drivers."""
