//! Handshakes with certificates of every kind, and files that cannot be used.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use tempfile::TempDir;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::pem::PemObject as _},
};

use std::path::PathBuf;

use super::*;

#[test]
fn a_file_that_cannot_be_used_is_reported_before_the_first_connection() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = Some(file.path().to_owned());
    let settings = TlsSettings { ca: path.clone(), ..TlsSettings::default() };
    let problem = Tls::new("localhost", &settings).unwrap_err();
    assert!(problem.ends_with("no certificate: it is empty"), "{problem}");
    let settings = TlsSettings { cert: path.clone(), key: path, ..TlsSettings::default() };
    let problem = Tls::new("localhost", &settings).unwrap_err();
    assert!(problem.contains("no private key"), "{problem}");
}

#[test]
fn a_certificate_without_its_key_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = Some(file.path().to_owned());
    for settings in [
        TlsSettings { cert: path.clone(), ..TlsSettings::default() },
        TlsSettings { key: path.clone(), ..TlsSettings::default() },
    ] {
        let problem = Tls::new("localhost", &settings).unwrap_err();
        assert!(problem.contains("go together"), "{problem}");
    }
}

#[test]
fn a_server_name_may_be_an_ip_address_but_has_no_space() {
    for name in ["localhost", "127.0.0.1", "[::1]", "[fe80::1%lo]", "greeter.example.org"] {
        assert!(Tls::new(name, &TlsSettings::default()).is_ok(), "{name}");
    }
    assert!(Tls::new("a b", &TlsSettings::default()).is_err());
}

/// A server with a certificate that it has signed itself.
struct SelfSigned {
    folder: TempDir,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl SelfSigned {
    fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cert"), certificate.pem()).unwrap();
        std::fs::write(folder.path().join("key"), key.serialize_pem()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        Self { folder, certificate: certificate.der().clone(), key }
    }

    fn of_a_ca() -> Self {
        Self::new(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.path().join(name))
    }

    /// The end of a client's handshake with this server.
    async fn greet(&self, name: &str, ca: &Self) -> Result<(), String> {
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth();
        let chain = vec![self.certificate.clone()];
        let mut config = config.with_single_cert(chain, self.key.clone_key()).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let settings = TlsSettings { ca: ca.file("cert"), ..TlsSettings::default() };
        let tls = Tls::new(name, &settings).unwrap();
        let (client, server) = tokio::io::duplex(64 * 1024);
        let accept = TlsAcceptor::from(Arc::new(config)).accept(server);
        let (greeted, _) = tokio::join!(tls.connect(client), accept);
        greeted.map(drop).map_err(|error| error.to_string())
    }
}

/// `openssl req -x509` makes such a certificate: it is its own CA, and says so.
#[tokio::test]
async fn a_certificate_of_a_ca_is_trusted_if_that_very_certificate_is_listed() {
    let server = SelfSigned::of_a_ca();
    server.greet("localhost", &server).await.unwrap();
    let problem = server.greet("example.org", &server).await.unwrap_err();
    assert!(problem.contains("not for example.org but for"), "{problem}");
    let problem = server.greet("localhost", &SelfSigned::of_a_ca()).await.unwrap_err();
    assert!(problem.contains("into `ca`"), "{problem}");
}

#[tokio::test]
async fn an_expired_certificate_of_a_ca_is_refused_although_it_is_listed() {
    let server = SelfSigned::new(|params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let problem = server.greet("localhost", &server).await.unwrap_err();
    assert!(problem.contains("has expired"), "{problem}");
}

#[tokio::test]
async fn every_refusal_of_a_certificate_has_words() {
    let early = SelfSigned::new(|params| params.not_before = date_time_ymd(4000, 1, 1));
    let for_clients = SelfSigned::new(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let stranger = SelfSigned::new(|params| {
        params.distinguished_name.push(DnType::CommonName, "somebody else");
    });
    let namesake = SelfSigned::new(|_| ());
    for (server, ca, words) in [
        (&early, &early, "not valid yet"),
        (&for_clients, &for_clients, "lacks serverAuth"),
        (&namesake, &early, "another CA of the same name"),
        (&stranger, &early, "is not trusted (set `ca`), or the server does not send"),
    ] {
        let problem = server.greet("localhost", ca).await.unwrap_err();
        assert!(problem.contains(words), "{problem}");
    }
}

const P521: &str = "-----BEGIN PRIVATE KEY-----\n\
MIHuAgEAMBAGByqGSM49AgEGBSuBBAAjBIHWMIHTAgEBBEIA/vRJ5u/x4jJrgQ+s\n\
4SwqAgLeTHtXkYvmNn2OI9gISXFpeTs8cZZbkXfSC/gp0A/b1wxuagieEkFwCRKq\n\
0J/ciU6hgYkDgYYABAEVr4VOQw6jU+2LoatyGPbOBevm+rq1RIYrQ9jpPmlcbb1C\n\
WdULKqI1U+jFM9KGTETmQEpk0dsvo2UPz/sPj07a0wDpESBKXBZsclb8Xi8Ya9n6\n\
GC21PxcIp34oUIABbbFBEVV1pdyhY1+KXx55VLmCLjCHjxncl1hdI/NcojwgzLfc\n\
Dg==\n\
-----END PRIVATE KEY-----\n";
const RSA_1024: &str = "-----BEGIN PRIVATE KEY-----\n\
MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAKUvZlcmpnTY67pf\n\
2IFHaVGBrFeRGQ0HZJKIrD4M0KCOZe4cGlrgvzOuq6iJ7wS7K8HLDJLo/hd7s5+v\n\
ZRv152Vv5wqDRVmGiXqT11dcNtjgTFFc0yN8d3AIEIFKwCugpLv4CVS4S94G1cGt\n\
xOIAToS29FSTrbkBcL8PdZGfoonJAgMBAAECgYB1NIW0DsuLGyNfkYRIbogO+ihz\n\
1ZNlyDoXMvyr5mHdmkw+wBf/JXrlS+mm44AB5mCs18rrLoCj3vTbuBLQ3RE6pwdv\n\
StwKpI+/aKeN41d9Ieybziv3OQ2RqDmFaw6fQY1h/gmnFms210r/W2Zq6vPKg8h/\n\
4RP4qRB7LJbtz8N9EQJBANjxalSm+DLzf6ENR7weWPxBL1vYulwCpSTj2jFlXlgC\n\
HcjTGV2cQrVkpN81v4nCd8TB7WNxNrPrhHJvtjKbPTUCQQDC7IpO30SUik3EbJnN\n\
ax1HQVKT8qKS9KotIY5cWRO3kApIiblR1PP0m4m4gDPeYLok0rqjsu8dMco6iILe\n\
uLDFAkBeK20ckd3rQAeGwV0CK6o01ZbZJ5q9lehZuw5bosTxLvn+0qOQHuRWGPn4\n\
ajxacC/NGOES6XH1Z6Z2hkdwcDKBAkAKHY5b43hCoR7CB8S/hUSCsyAe72OCbtH5\n\
/5jMsA624vG1q/gDCCMU2ZF/EqAedTSTvp/S6PFBuZi+CuGHv1vlAkEAq1pYgvte\n\
v//tU8fIwq2Gh66zjJdXJ9sAhUHwGRBVMVecH6A1iJJm+HVOZFeSPGpKMbY53LZH\n\
4Nwo+tznaCqcAw==\n\
-----END PRIVATE KEY-----\n";

#[test]
fn a_key_that_cannot_be_used_says_why() {
    let identity = SelfSigned::new(|_| ());
    let file = identity.file("other").unwrap();
    let read = |cert: Option<PathBuf>, key: Option<PathBuf>| {
        Tls::new("localhost", &TlsSettings { cert, key, ..TlsSettings::default() }).unwrap_err()
    };
    for (content, words) in [
        (P521, "P-521 are not supported"),
        (RSA_1024, "2048 to 4096 bits"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "encrypted with a passphrase"),
        ("nothing", "not PEM"),
    ] {
        std::fs::write(&file, content).unwrap();
        let problem = read(identity.file("cert"), Some(file.clone()));
        assert!(problem.contains(words), "{problem}");
        assert!(problem.contains("other"), "the file is named: {problem}");
    }
    std::fs::write(&file, identity.key.secret_der()).unwrap();
    let problem = read(identity.file("cert"), Some(file.clone()));
    assert!(problem.contains("-inform der"), "{problem}");
    let swapped = read(identity.file("key"), identity.file("cert"));
    assert!(swapped.contains("swapped"), "{swapped}");
}

#[test]
fn a_chain_in_the_wrong_order_says_so() {
    let (own, other) = (SelfSigned::new(|_| ()), SelfSigned::new(|_| ()));
    let pem = |of: &SelfSigned| std::fs::read_to_string(of.file("cert").unwrap()).unwrap();
    let chain = own.file("chain").unwrap();
    std::fs::write(&chain, pem(&other) + &pem(&own)).unwrap();
    let settings =
        TlsSettings { cert: Some(chain), key: own.file("key"), ..TlsSettings::default() };
    let problem = Tls::new("localhost", &settings).unwrap_err();
    assert!(problem.contains("must come first"), "{problem}");
    let settings =
        TlsSettings { cert: other.file("cert"), key: own.file("key"), ..TlsSettings::default() };
    let problem = Tls::new("localhost", &settings).unwrap_err();
    assert!(problem.contains("does not match the certificate"), "{problem}");
}
