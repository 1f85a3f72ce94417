"""The serverless worker: `quire serve` behind a platform's job queue or load balancer, configured by variables."""

from quire.api.serverless.command import worker
from quire.api.serverless.mapping import ServerPlan, plan_server
from quire.api.serverless.reference import serverless_page

__all__ = ["ServerPlan", "plan_server", "serverless_page", "worker"]
