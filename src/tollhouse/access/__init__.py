"""Who may do what: organizations, their API keys, the people who operate them, and the customers an app speaks for."""

from tollhouse.access.api_key import SCOPES, ApiKey, Caller, IssuedKey, find_caller, issue, list_keys, revoke
from tollhouse.access.customer import Customer, customer, customer_ids, list_customers, remember
from tollhouse.access.customer_token import CustomerPass, issue_customer_token, read_customer_token, signing_key
from tollhouse.access.organization import Organization, default_organization, found, list_organizations, organization
from tollhouse.access.sign_in_link import check_link, issue_link, use_link
from tollhouse.access.user import Attempt, User, authenticate, check_patience, list_users, note_failure, note_success, set_password
from tollhouse.access.user_session import (
    SignedIn,
    UserSession,
    find_session,
    list_sessions,
    open_session,
    revoke_all_sessions,
    revoke_session,
)

__all__ = [
    "SCOPES",
    "ApiKey",
    "Attempt",
    "Caller",
    "Customer",
    "CustomerPass",
    "IssuedKey",
    "Organization",
    "SignedIn",
    "User",
    "UserSession",
    "authenticate",
    "check_link",
    "check_patience",
    "customer",
    "customer_ids",
    "default_organization",
    "find_caller",
    "find_session",
    "found",
    "issue",
    "issue_customer_token",
    "issue_link",
    "list_customers",
    "list_keys",
    "list_organizations",
    "list_sessions",
    "list_users",
    "note_failure",
    "note_success",
    "open_session",
    "organization",
    "read_customer_token",
    "remember",
    "revoke",
    "revoke_all_sessions",
    "revoke_session",
    "set_password",
    "signing_key",
    "use_link",
]
