-- The embedded identity provider's database. SQLite 3.37 or newer (STRICT tables). Version 2.
-- Times ending in _ms are milliseconds since the epoch, all other times are whole seconds: the units of the wire.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY NOT NULL,  -- 'project_id': the project whose accounts and keys these are
    value TEXT NOT NULL               -- as text, whatever the name
) STRICT;

-- Every tenant is a name space of its own: ids, addresses, numbers and identities are unique within it. '' is the
-- project itself.
CREATE TABLE tenants (
    tenant     TEXT PRIMARY KEY NOT NULL,  -- tenantId on the wire, `firebase.tenant` in tokens
    config     TEXT NOT NULL,              -- JSON object: what an administrator set, in the words of the wire
    created_at INTEGER NOT NULL            -- when it was made
) STRICT;

CREATE TABLE accounts (
    tenant                 TEXT NOT NULL DEFAULT '',            -- whose name space; '' for the project's own
    uid                    TEXT NOT NULL,                       -- localId on the wire, `sub` in tokens; 1 to 128 characters
    email                  TEXT,                                -- lower case; NULL for anonymous and phone-only accounts
    email_verified         INTEGER NOT NULL DEFAULT 0,          -- 1 once a mailed code proved possession of the address
    initial_email          TEXT,                                -- the first address, kept when it is changed for the first time
    email_link_sign_in     INTEGER NOT NULL DEFAULT 0,          -- 1 once the person signed in by a mailed link
    password_hash          TEXT,                                -- argon2id in PHC form, or an imported hash; NULL: no password
    password_updated_at_ms INTEGER,                             -- when password_hash was last set
    display_name           TEXT,                                -- `name` in tokens
    photo_url              TEXT,                                -- `picture` in tokens
    phone_number           TEXT,                                -- E.164, starts with +
    disabled               INTEGER NOT NULL DEFAULT 0,          -- 1: no sign-in, no refresh, no lookup by ID token
    custom_auth            INTEGER NOT NULL DEFAULT 0,          -- 1 when the account came from a custom token
    custom_attributes      TEXT,                                -- custom claims: JSON object of at most 1000 UTF-16 units
    valid_since            INTEGER NOT NULL,                    -- sessions that signed in before this moment are void
    created_at_ms          INTEGER NOT NULL,                    -- createdAt on the wire
    last_login_at_ms       INTEGER,                             -- NULL until the first sign-in
    last_refresh_at_ms     INTEGER,                             -- when an ID token was last issued
    PRIMARY KEY (tenant, uid),
    UNIQUE (tenant, email),
    UNIQUE (tenant, phone_number)
) STRICT;

CREATE TABLE links (
    tenant       TEXT NOT NULL DEFAULT '',  -- the account's name space
    uid          TEXT NOT NULL,             -- whose account
    provider_id  TEXT NOT NULL,             -- google.com, oidc.x, saml.x; never password or phone
    raw_id       TEXT NOT NULL,             -- the person's id at that provider
    email        TEXT,                      -- as the provider reports it
    display_name TEXT,                      -- as the provider reports it
    photo_url    TEXT,                      -- as the provider reports it
    PRIMARY KEY (tenant, provider_id, raw_id),
    UNIQUE (tenant, uid, provider_id),
    FOREIGN KEY (tenant, uid) REFERENCES accounts (tenant, uid) ON DELETE CASCADE
) STRICT;

CREATE TABLE factors (
    tenant         TEXT NOT NULL DEFAULT '',  -- the account's name space
    uid            TEXT NOT NULL,             -- whose second factor
    factor_id      TEXT NOT NULL,             -- mfaEnrollmentId on the wire
    phone_number   TEXT,                      -- where codes go; NULL for an authenticator app
    totp_secret    TEXT,                      -- base32; has to be readable to compute codes, like the signing keys
    totp_last_step INTEGER,                   -- the latest time step that signed in: a code works once
    display_name   TEXT,                      -- what the person calls it
    enrolled_at_ms INTEGER NOT NULL,          -- when it was enrolled
    PRIMARY KEY (tenant, uid, factor_id),
    FOREIGN KEY (tenant, uid) REFERENCES accounts (tenant, uid) ON DELETE CASCADE
) STRICT;

-- One row for each sign-in. No foreign key: a deleted account's refresh tokens must be refused by name, not forgotten.
CREATE TABLE sessions (
    token_hash       TEXT PRIMARY KEY NOT NULL,  -- SHA-256 of the refresh token, hexadecimal; the token itself is nowhere
    tenant           TEXT NOT NULL DEFAULT '',   -- the account's name space
    uid              TEXT NOT NULL,              -- whose session
    sign_in_provider TEXT NOT NULL,              -- firebase.sign_in_provider of its tokens
    auth_time        INTEGER NOT NULL,           -- when the credential was presented; a refresh never changes it
    session_claims   TEXT NOT NULL,              -- JSON object: what beforeSignIn or the custom token gave this session
    created_at       INTEGER NOT NULL,           -- when the row was written
    last_used_at     INTEGER NOT NULL,           -- when it last gave an ID token
    ended_at         INTEGER,                    -- when it was revoked, or its account disabled or deleted; NULL: alive
    second_factor    TEXT,                       -- 'phone' or 'totp': firebase.sign_in_second_factor; NULL: none was used
    second_factor_id TEXT,                       -- the factor's mfaEnrollmentId
    attributes       TEXT                        -- JSON object: firebase.sign_in_attributes of SAML and OpenID Connect
) STRICT;
CREATE INDEX sessions_of_account ON sessions (tenant, uid, auth_time);

CREATE TABLE codes (
    code_hash    TEXT PRIMARY KEY NOT NULL,  -- SHA-256 of the out-of-band code, hexadecimal
    tenant       TEXT NOT NULL DEFAULT '',   -- the name space that it was made in
    request_type TEXT NOT NULL,              -- PASSWORD_RESET, VERIFY_EMAIL, EMAIL_SIGNIN, VERIFY_AND_CHANGE_EMAIL, RECOVER_EMAIL
    uid          TEXT,                       -- whose account; NULL for EMAIL_SIGNIN, which may create one
    email        TEXT NOT NULL,              -- the account's address when the code was made
    new_email    TEXT,                       -- the address to change to, or that was changed to (RECOVER_EMAIL)
    continue_url TEXT,                       -- where the action page may lead afterwards
    expires_at   INTEGER NOT NULL            -- from then on the code is refused
) STRICT;
CREATE INDEX codes_of_account ON codes (tenant, uid);

CREATE TABLE signing_keys (
    kid         TEXT PRIMARY KEY NOT NULL,  -- 'local-' and the certificate's SHA-1 fingerprint
    purpose     TEXT NOT NULL,              -- 'id_token' or 'session_cookie': two sets that never mix
    private_pem TEXT NOT NULL,              -- PKCS #8; the file's mode 0600 is its protection
    certificate TEXT NOT NULL,              -- self-signed X.509, PEM
    signs_from  INTEGER NOT NULL            -- from then on it signs, until the next key's moment comes
) STRICT;
