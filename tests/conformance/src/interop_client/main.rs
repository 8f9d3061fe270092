//! `quartet-channel` as the client of gRPC's interop tests:
//!
//! ```text
//! interop-client TARGET CA|- CASE...
//! ```
//!
//! It prints the name of each case that passes, and fails at the first that does not.

use std::{env, error::Error, io::Write as _};

use cases::Client;
use quartet_channel::{Channel, TlsSettings};

mod cases;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [target, ca, cases @ ..] = &arguments[..] else {
        return Err("usage: interop-client TARGET CA|- CASE...".into());
    };
    let tls = match ca.as_str() {
        "-" => TlsSettings::default(),
        ca => TlsSettings {
            ca: Some(ca.into()),
            server_name: Some("localhost".to_owned()),
            ..TlsSettings::default()
        },
    };
    let builder = Channel::builder(target.parse()?).tls(&tls)?;
    for case in cases {
        let client = Client::new(builder.clone());
        client.run(case).await.map_err(|error| format!("{case}: {error}"))?;
        writeln!(std::io::stdout(), "{case}")?;
    }
    Ok(())
}
