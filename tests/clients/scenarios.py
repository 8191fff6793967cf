"""Scenarios of one program: registered by a decorator, run one after the other, a line for each.

    @scenario
    def key_shared(): ...           # make peers-check ONLY=key

    sys.exit(run("peers"))
"""
import os
import time
import traceback

from cluster import Missing, NeverHappened, on_signals_exit

SCENARIOS = {}


class Broken(Exception):
    """A promise was not kept."""


def scenario(f):
    SCENARIOS[f.__name__.replace("_", "-")] = f
    return f


def expect(what, got, want):
    if got != want:
        raise Broken(f"{what}: got {got!r}, want {want!r}")


def run(title):
    """All, or those whose name begins with one of ONLY. The program's exit status: 1 when one failed, or none ran."""
    on_signals_exit()
    only = [x for x in os.environ.get("ONLY", "").split(",") if x]
    failed = count = 0
    for name, f in SCENARIOS.items():
        if only and not any(name.startswith(o) for o in only):
            continue
        count += 1
        begin = time.monotonic()
        try:
            f()
            print(f"ok    {name:<34} {time.monotonic() - begin:.1f} s", flush=True)
        except (Broken, NeverHappened, Missing) as e:
            failed += 1
            print(f"FAIL  {name}: {e}", flush=True)
        except Exception:
            failed += 1
            print(f"FAIL  {name}", flush=True)
            traceback.print_exc()
    print(f"{title}: {count} scenarios, {failed} failed")
    return 1 if failed or count == 0 else 0
