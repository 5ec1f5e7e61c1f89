-- What a team would write that puts each request into one function of the database: the peers
-- "Fastify" and "pgbench, function" call these. They lock, decide and write as the service does, and
-- return the name of the error where they refuse.

CREATE SCHEMA peer;

CREATE FUNCTION peer.place_order(
    buyer text, slugs text [], OUT error text, OUT order_id bigint, OUT total bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    buyer_id bigint;
    purse bigint;
    product_ids bigint[];
    prices bigint[];
    items jsonb;
BEGIN
    SELECT users.id, users.balance INTO buyer_id, purse
    FROM users WHERE users.username = buyer FOR NO KEY UPDATE;
    IF NOT found THEN
        error := 'user_not_found';
        RETURN;
    END IF;

    SELECT
        array_agg(products.id ORDER BY ordinal),
        array_agg(products.price ORDER BY ordinal),
        sum(products.price),
        jsonb_agg(
            jsonb_build_object(
                'product_id', products.id, 'slug', products.slug, 'price', products.price
            )
            ORDER BY ordinal
        )
    INTO product_ids, prices, total, items
    FROM unnest(slugs) WITH ORDINALITY AS wanted (slug, ordinal)
    INNER JOIN products ON products.slug = wanted.slug;
    IF coalesce(cardinality(product_ids), 0) < cardinality(slugs) THEN
        error := 'products_not_found';
        RETURN;
    END IF;

    IF
        (SELECT count(DISTINCT id) FROM unnest(product_ids) AS id) < cardinality(slugs)
        OR EXISTS (
            SELECT FROM owned_products
            WHERE owned_products.user_id = buyer_id
                AND owned_products.product_id = ANY (product_ids)
        )
    THEN
        error := 'products_already_purchased';
        RETURN;
    END IF;
    IF purse < total THEN
        error := 'insufficient_balance';
        RETURN;
    END IF;

    INSERT INTO orders (user_id, status, amount, settled_at)
    VALUES (buyer_id, 'approved', total, now())
    RETURNING orders.id INTO order_id;
    INSERT INTO order_items (order_id, product_id, quantity, price)
    SELECT place_order.order_id, item.product_id, 1, item.price
    FROM unnest(product_ids, prices) AS item (product_id, price);
    INSERT INTO owned_products (user_id, product_id)
    SELECT buyer_id, bought FROM unnest(product_ids) AS bought;
    PERFORM peer.move(buyer_id, purse, -total, 'benefit_order', 'order', order_id, 'sales');
    INSERT INTO outbox (name, subject, actor, payload)
    VALUES (
        'benefit_order.placed',
        'order:' || order_id,
        'anonymous',
        jsonb_build_object(
            'order_id', order_id,
            'user_id', buyer_id,
            'items', items,
            'total', total,
            'balance_after', purse - total
        )
    );
END;
$$;

CREATE FUNCTION peer.pay_invoice(wanted bigint, OUT error text, OUT paid invoices)
LANGUAGE plpgsql AS $$
DECLARE
    purse bigint;
BEGIN
    SELECT * INTO paid FROM invoices WHERE invoices.id = wanted FOR NO KEY UPDATE;
    IF NOT found THEN
        error := 'invoice_not_found';
        RETURN;
    END IF;
    IF paid.status = 'paid' THEN
        error := 'invoice_already_paid';
        RETURN;
    END IF;

    SELECT users.balance INTO purse FROM users WHERE users.id = paid.user_id FOR NO KEY UPDATE;
    UPDATE invoices SET status = 'paid', paid_at = now() WHERE invoices.id = wanted
    RETURNING * INTO paid;
    PERFORM peer.move(
        paid.user_id, purse, paid.amount, 'invoice', 'invoice', paid.id, 'payables'
    );
    INSERT INTO outbox (name, subject, actor, payload)
    VALUES (
        'invoice.paid',
        'invoice:' || paid.id,
        'anonymous',
        jsonb_build_object(
            'invoice_id', paid.id,
            'user_id', paid.user_id,
            'amount', paid.amount,
            'label', paid.label,
            'invoice_created_at', paid.created_at,
            'paid_at', paid.paid_at,
            'balance_after', purse + paid.amount
        )
    );
END;
$$;

-- Changes the balance of an account that the caller holds, and writes why into the ledger.
CREATE FUNCTION peer.move(
    account bigint, before bigint, change bigint,
    why text, document_kind text, document_id bigint, contra text
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE users SET balance = before + change WHERE users.id = account;
    INSERT INTO ledger_entries (
        user_id, amount, balance_after, reason, reference,
        document_kind, document_id, contra, actor
    )
    VALUES (
        account, change, before + change, why, move.document_kind || ':' || move.document_id,
        move.document_kind, move.document_id, move.contra, 'anonymous'
    );
END;
$$;
