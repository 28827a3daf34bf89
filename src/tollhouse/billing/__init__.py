"""Billing: prices on meters, and what usage costs.

`rate` is the one function that turns a quantity into an amount; the summary, the daily table, a job's cost, the list
of all users and a month's bill all come out of it.
"""

from tollhouse.billing.bill import Bill, BillLine, draw_up
from tollhouse.billing.discount import DiscountTable, DiscountTier
from tollhouse.billing.forecast import Forecast, forecast
from tollhouse.billing.price import NewPrice, Price, PriceBook, add_price, list_prices, price_book, remove_price
from tollhouse.billing.rating import MODELS_WITH_AMOUNT, Rate, Tier, rate
from tollhouse.billing.revenue import CustomerRevenue, Revenue, revenue
from tollhouse.billing.seed_meters import BYTES, JOBS, SECONDS, DefaultRates, lay_meters
from tollhouse.billing.summary import Books, all_users, daily_usage, job_bill, month_bill, reset, summary

__all__ = [
    "BYTES",
    "JOBS",
    "MODELS_WITH_AMOUNT",
    "SECONDS",
    "Bill",
    "BillLine",
    "Books",
    "CustomerRevenue",
    "DefaultRates",
    "DiscountTable",
    "DiscountTier",
    "Forecast",
    "NewPrice",
    "Price",
    "PriceBook",
    "Rate",
    "Revenue",
    "Tier",
    "add_price",
    "all_users",
    "daily_usage",
    "draw_up",
    "forecast",
    "job_bill",
    "lay_meters",
    "list_prices",
    "month_bill",
    "price_book",
    "rate",
    "remove_price",
    "reset",
    "revenue",
    "summary",
]
