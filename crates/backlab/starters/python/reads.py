# {{title}}
#
# {{contract}}

import json
import sys


def answer(given):
    """Your work begins here."""
    return {"error": "this isn't written yet"}


print(json.dumps(answer(json.load(sys.stdin))))
