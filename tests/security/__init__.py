"""Regressions of public advisories: T-01 … T-37, each test saying in its name or its table what it guards.

| file | guards |
|---|---|
| test_advisories | that none is left out |
| test_forbidden_code | T-01, T-05, T-06, T-07, T-32: what may not stand in the source at all |
| test_sockets | T-01 to T-04: what listens, and what hostile bytes do there |
| test_model_folders | T-05, T-06, T-09: code and damage in checkpoints |
| test_model_output | T-07, T-21: text the model writes |
| test_templates | T-10, T-22: chat templates |
| test_requests | T-08, T-11 to T-15, T-23, T-25 to T-28: small requests that harm |
| test_grammars | T-16 to T-20: schemas, regexes and grammars |
| test_feature_pairs | T-24: features that meet |
| test_media | T-29 to T-31: what a request may make the server fetch or decode |
| test_tenants | T-32, T-33: the prefix cache between tenants |
| test_keys | T-34 to T-37: who may ask |

Tests that meet a server use `guarded`: after the hostile request a control request must answer byte for byte as
before, within its time, from the same engine process, with memory as it was and no KV block left in use.
"""
