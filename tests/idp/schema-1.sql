-- The embedded identity provider's database. SQLite 3.37 or newer (STRICT tables). Version 1.
-- Times ending in _ms are milliseconds since the epoch, all other times are whole seconds: the units of the wire.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY NOT NULL,  -- 'project_id': the project whose accounts and keys these are
    value TEXT NOT NULL               -- as text, whatever the name
) STRICT;

CREATE TABLE accounts (
    uid                    TEXT PRIMARY KEY NOT NULL,           -- localId on the wire, `sub` in tokens; 1 to 128 characters
    email                  TEXT UNIQUE,                         -- lower case; NULL for anonymous and phone-only accounts
    email_verified         INTEGER NOT NULL DEFAULT 0,          -- 1 once a mailed code proved possession of the address
    initial_email          TEXT,                                -- the first address, kept when it is changed for the first time
    email_link_sign_in     INTEGER NOT NULL DEFAULT 0,          -- 1 once the person signed in by a mailed link
    password_hash          TEXT,                                -- argon2id in PHC form, or an imported hash; NULL: no password
    password_updated_at_ms INTEGER,                             -- when password_hash was last set
    display_name           TEXT,                                -- `name` in tokens
    photo_url              TEXT,                                -- `picture` in tokens
    phone_number           TEXT UNIQUE,                         -- E.164, starts with +
    disabled               INTEGER NOT NULL DEFAULT 0,          -- 1: no sign-in, no refresh, no lookup by ID token
    custom_auth            INTEGER NOT NULL DEFAULT 0,          -- 1 when the account came from a custom token
    custom_attributes      TEXT,                                -- custom claims: JSON object of at most 1000 UTF-16 units
    valid_since            INTEGER NOT NULL,                    -- sessions that signed in before this moment are void
    created_at_ms          INTEGER NOT NULL,                    -- createdAt on the wire
    last_login_at_ms       INTEGER,                             -- NULL until the first sign-in
    last_refresh_at_ms     INTEGER                              -- when an ID token was last issued
) STRICT;

CREATE TABLE links (
    uid          TEXT NOT NULL REFERENCES accounts (uid) ON DELETE CASCADE,  -- whose account
    provider_id  TEXT NOT NULL,                                              -- google.com, oidc.x, saml.x; never password or phone
    raw_id       TEXT NOT NULL,                                              -- the person's id at that provider
    email        TEXT,                                                       -- as the provider reports it
    display_name TEXT,                                                       -- as the provider reports it
    photo_url    TEXT,                                                       -- as the provider reports it
    PRIMARY KEY (provider_id, raw_id),
    UNIQUE (uid, provider_id)
) STRICT;

-- One row for each sign-in. No foreign key: a deleted account's refresh tokens must be refused by name, not forgotten.
CREATE TABLE sessions (
    token_hash       TEXT PRIMARY KEY NOT NULL,  -- SHA-256 of the refresh token, hexadecimal; the token itself is nowhere
    uid              TEXT NOT NULL,              -- whose session
    sign_in_provider TEXT NOT NULL,              -- firebase.sign_in_provider of its tokens
    auth_time        INTEGER NOT NULL,           -- when the credential was presented; a refresh never changes it
    session_claims   TEXT NOT NULL,              -- JSON object: what beforeSignIn or the custom token gave this session
    created_at       INTEGER NOT NULL,           -- when the row was written
    last_used_at     INTEGER NOT NULL,           -- when it last gave an ID token
    ended_at         INTEGER                     -- when it was revoked, or its account disabled or deleted; NULL: alive
) STRICT;
CREATE INDEX sessions_of_account ON sessions (uid, auth_time);

CREATE TABLE codes (
    code_hash    TEXT PRIMARY KEY NOT NULL,  -- SHA-256 of the out-of-band code, hexadecimal
    request_type TEXT NOT NULL,              -- PASSWORD_RESET, VERIFY_EMAIL, EMAIL_SIGNIN, VERIFY_AND_CHANGE_EMAIL, RECOVER_EMAIL
    uid          TEXT,                       -- whose account; NULL for EMAIL_SIGNIN, which may create one
    email        TEXT NOT NULL,              -- the account's address when the code was made
    new_email    TEXT,                       -- the address to change to, or that was changed to (RECOVER_EMAIL)
    continue_url TEXT,                       -- where the action page may lead afterwards
    expires_at   INTEGER NOT NULL            -- from then on the code is refused
) STRICT;
CREATE INDEX codes_of_account ON codes (uid);

CREATE TABLE signing_keys (
    kid         TEXT PRIMARY KEY NOT NULL,  -- 'local-' and the certificate's SHA-1 fingerprint
    purpose     TEXT NOT NULL,              -- 'id_token' or 'session_cookie': two sets that never mix
    private_pem TEXT NOT NULL,              -- PKCS #8; the file's mode 0600 is its protection
    certificate TEXT NOT NULL,              -- self-signed X.509, PEM
    signs_from  INTEGER NOT NULL            -- from then on it signs, until the next key's moment comes
) STRICT;
