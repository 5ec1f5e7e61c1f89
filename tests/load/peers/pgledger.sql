-- A ledger by double entry, made as pgledger makes it: a transfer locks both accounts in one order,
-- changes their balances, and writes two entries, each with the balance before and after it. Ids are
-- numbers here, which is cheaper than pgledger's texts. Accounts are numbered from 1.

CREATE SCHEMA transfers;

CREATE TABLE transfers.accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    balance numeric NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE transfers.transfers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    from_account_id bigint NOT NULL REFERENCES transfers.accounts (id),
    to_account_id bigint NOT NULL REFERENCES transfers.accounts (id),
    amount numeric NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (amount > 0 AND from_account_id <> to_account_id)
);

CREATE INDEX ON transfers.transfers (from_account_id);
CREATE INDEX ON transfers.transfers (to_account_id);

CREATE TABLE transfers.entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES transfers.accounts (id),
    transfer_id bigint NOT NULL REFERENCES transfers.transfers (id),
    amount numeric NOT NULL,
    previous_balance numeric NOT NULL,
    current_balance numeric NOT NULL,
    account_version bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX ON transfers.entries (account_id);
CREATE INDEX ON transfers.entries (transfer_id);

CREATE FUNCTION transfers.create_transfer(
    from_account bigint, to_account bigint, moved numeric
) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    payer transfers.accounts;
    payee transfers.accounts;
    transfer bigint;
BEGIN
    PERFORM FROM transfers.accounts WHERE id = least(from_account, to_account) FOR UPDATE;
    PERFORM FROM transfers.accounts WHERE id = greatest(from_account, to_account) FOR UPDATE;
    UPDATE transfers.accounts
    SET balance = balance - moved, version = version + 1, updated_at = now()
    WHERE id = from_account RETURNING * INTO payer;
    UPDATE transfers.accounts
    SET balance = balance + moved, version = version + 1, updated_at = now()
    WHERE id = to_account RETURNING * INTO payee;
    INSERT INTO transfers.transfers (from_account_id, to_account_id, amount)
    VALUES (from_account, to_account, moved) RETURNING id INTO transfer;
    INSERT INTO transfers.entries (
        account_id, transfer_id, amount, previous_balance, current_balance, account_version
    )
    VALUES
    (payer.id, transfer, -moved, payer.balance + moved, payer.balance, payer.version),
    (payee.id, transfer, moved, payee.balance - moved, payee.balance, payee.version);
    RETURN transfer;
END;
$$;
