"""Who may do what: organizations, their API keys, and the customers an app speaks for."""

from tollhouse.access.api_key import SCOPES, ApiKey, Caller, IssuedKey, find_caller, issue, list_keys, revoke
from tollhouse.access.customer import Customer, customer, customer_ids, list_customers, remember
from tollhouse.access.organization import Organization, default_organization, found, list_organizations, organization

__all__ = [
    "SCOPES",
    "ApiKey",
    "Caller",
    "Customer",
    "IssuedKey",
    "Organization",
    "customer",
    "customer_ids",
    "default_organization",
    "find_caller",
    "found",
    "issue",
    "list_customers",
    "list_keys",
    "list_organizations",
    "organization",
    "remember",
    "revoke",
]
