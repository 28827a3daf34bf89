"""The HTTP side: routes per domain in `api`, other products' own routes in `compat`, and who may call them."""

from tollhouse.web.application import Application
from tollhouse.web.intake import JobTerms
from tollhouse.web.parts import BillingTerms, Parts

__all__ = ["Application", "BillingTerms", "JobTerms", "Parts"]
