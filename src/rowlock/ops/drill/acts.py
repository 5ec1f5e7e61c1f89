"""What the clients of a drill do, and how often, by the service that they write to."""

from collections.abc import Mapping

from rowlock.ops.drill import catalogue, others, payments, people, reads, sales
from rowlock.ops.drill.clients import Act

ACTS: Mapping[str, Mapping[Act, int]] = {
    "commerce": {
        sales.open_account: 1,
        people.create_user: 2,
        people.change_user: 2,
        people.anonymise_user: 1,
        sales.buy_benefit: 3,
        sales.order: 4,
        sales.cancel_order: 3,
        sales.refund: 4,
        payments.issue_invoice: 3,
        payments.issue_invoices: 1,
        payments.pay_invoice: 3,
        payments.void_invoice: 1,
        payments.reverse_invoice: 2,
        payments.transfer: 4,
        catalogue.add_product: 1,
        catalogue.add_service: 1,
        catalogue.change_price: 1,
        catalogue.retire_or_restore: 2,
        catalogue.order_own: 1,
        catalogue.book_own: 1,
        others.book: 3,
        others.rebook: 2,
        others.unbook: 1,
        reads.see_user: 3,
        reads.see_balance_at: 2,
        reads.see_ledger: 3,
        reads.see_statement: 2,
        reads.see_shopper: 2,
        reads.see_order: 2,
        reads.see_invoice: 2,
        reads.see_transfer: 1,
    },
    "projects": {others.deploy: 2, others.abort: 1, others.report: 6},
    "events": {others.post_event: 1},
}
