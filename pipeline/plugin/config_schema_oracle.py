"""Second opinion on configurations: reads one JSON object {"schema": ..., "value": ...} a line, writes 1 a line if the value is valid
under the schema (JSON Schema 2020-12, by the jsonschema package), else 0."""
import json
import sys

from jsonschema import Draft202012Validator

for line in sys.stdin:
    case = json.loads(line)
    print(int(Draft202012Validator(case["schema"]).is_valid(case["value"])))
