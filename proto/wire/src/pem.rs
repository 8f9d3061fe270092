//! Why a certificate or a key cannot be used, in words for people: for the TLS of both sides.
//!
//! Nothing of a content is quoted, because it may be secret. Not here: parsing, which is rustls's.

/// What a file should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Certificates.
    Certificate,
    /// A private key.
    Key,
}

/// Why a content in which no PEM section of that kind was found has none.
pub fn why_not(expected: Expected, content: &[u8]) -> &'static str {
    let has = |text: &str| content.windows(text.len()).any(|part| part == text.as_bytes());
    match expected {
        _ if content.is_empty() => "it is empty",
        Expected::Certificate if is_der(content) => {
            "it is DER: convert it to PEM with `openssl x509 -inform der`"
        }
        Expected::Key if is_der(content) => {
            "it is DER: convert it to PEM with `openssl pkey -inform der`"
        }
        Expected::Certificate if has("PRIVATE KEY-----") => {
            "it holds a private key: are the two files swapped?"
        }
        Expected::Key if has("ENCRYPTED") => {
            "it is encrypted with a passphrase: decrypt it with `openssl pkey`"
        }
        Expected::Key if has("BEGIN OPENSSH PRIVATE KEY") => {
            "it is a key for SSH: convert it with `ssh-keygen -p -m pem`"
        }
        Expected::Key if has("BEGIN CERTIFICATE") => {
            "it holds a certificate: are the two files swapped?"
        }
        _ if has("-----BEGIN ") => "its PEM is damaged, or of another kind",
        _ => "it is not PEM, which has lines like -----BEGIN",
    }
}

/// Why a private key in DER, which was parsed, cannot be used by ring.
pub fn why_unusable_key(der: &[u8], is_pkcs1: bool) -> &'static str {
    // Object identifiers, as DER encodes them.
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
    let has = |oid: &[u8]| der.windows(oid.len()).any(|part| part == oid);
    if has(P521) {
        "keys of the curve P-521 are not supported: use P-256, P-384 or Ed25519"
    } else if is_pkcs1 || has(RSA) {
        "RSA keys must have 2048 to 4096 bits"
    } else {
        "keys of its kind are not supported: use P-256, P-384, Ed25519 or RSA"
    }
}

/// Whether a content begins like a DER sequence.
fn is_der(content: &[u8]) -> bool {
    matches!(content, [0x30, length, ..] if *length >= 0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_content_has_its_own_words() {
        for (expected, content, words) in [
            (Expected::Key, &b""[..], "empty"),
            (Expected::Key, b"\x30\x82\x01", "-inform der"),
            (Expected::Certificate, b"\x30\x82\x01", "-inform der"),
            (Expected::Key, b"-----BEGIN ENCRYPTED PRIVATE KEY-----", "passphrase"),
            (
                Expected::Key,
                b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED",
                "passphrase",
            ),
            (Expected::Key, b"-----BEGIN CERTIFICATE-----", "swapped"),
            (Expected::Certificate, b"-----BEGIN EC PRIVATE KEY-----", "swapped"),
            (Expected::Key, b"-----BEGIN OPENSSH PRIVATE KEY-----", "SSH"),
            (Expected::Certificate, b"-----BEGIN X-----", "damaged"),
            (Expected::Certificate, b"0 words", "not PEM"),
        ] {
            let why = why_not(expected, content);
            assert!(why.contains(words), "{expected:?}: {why}");
        }
    }
}
