"""The plugin `headrace`, as the engine starts it from this folder."""

from headrace_components.provider.main import main

if __name__ == "__main__":
    main()
