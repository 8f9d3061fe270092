//! The kinds of JSON values in a service config, checked before serde reads them: serde takes an
//! array for a struct, and its messages name types of Rust.

use serde_json::Value;

use crate::service_config::invalid::{InvalidConfig, refuse};

/// The kind of a field's value. `null` is an absent field, as in protobuf's JSON.
enum Kind {
    Bool,
    Number,
    /// A whole number of at least 0 and at most this.
    Whole(u64),
    Text,
    /// A code: its name or its number.
    Code,
    ListOf(&'static Kind),
    /// These fields are known; others are of any kind.
    Object(&'static [Field]),
    /// A field that must be there.
    Required(&'static Kind),
}

type Field = (&'static str, Kind);

use Kind::{Bool, Code, ListOf, Number, Object, Required, Text, Whole};

const ATTEMPTS: Kind = Required(&Whole(u32::MAX as u64));

const CONFIG: Kind = Object(&[
    ("loadBalancingConfig", ListOf(&Object(&[]))),
    ("loadBalancingPolicy", Text),
    ("methodConfig", ListOf(&METHOD)),
    (
        "retryThrottling",
        Object(&[("maxTokens", Required(&Number)), ("tokenRatio", Required(&Number))]),
    ),
    ("healthCheckConfig", Object(&[("serviceName", Text)])),
]);

const METHOD: Kind = Object(&[
    ("name", ListOf(&Object(&[("service", Text), ("method", Text)]))),
    ("waitForReady", Bool),
    ("timeout", Text),
    ("maxRequestMessageBytes", Whole(u64::MAX)),
    ("maxResponseMessageBytes", Whole(u64::MAX)),
    (
        "retryPolicy",
        Object(&[
            ("maxAttempts", ATTEMPTS),
            ("initialBackoff", Required(&Text)),
            ("maxBackoff", Required(&Text)),
            ("backoffMultiplier", Required(&Number)),
            ("retryableStatusCodes", Required(&ListOf(&Code))),
        ]),
    ),
    ("hedgingPolicy", HEDGING),
]);

const HEDGING: Kind = Object(&[
    ("maxAttempts", ATTEMPTS),
    ("hedgingDelay", Text),
    ("nonFatalStatusCodes", ListOf(&Code)),
]);

/// Refuses a config in which a value is of another kind than its field, or a field is missing.
pub(super) fn check(config: &Value) -> Result<(), InvalidConfig> {
    CONFIG.check(config, "")
}

/// The same for the config of a balancing policy, pick_first or round_robin, at this path.
pub(super) fn check_policy(config: &Value, path: &str) -> Result<(), InvalidConfig> {
    match config {
        Value::Null => Ok(()),
        config => Object(&[("shuffleAddressList", Bool)]).check(config, path),
    }
}

impl Kind {
    fn check(&self, value: &Value, path: &str) -> Result<(), InvalidConfig> {
        if !self.is(value) {
            return refuse(path, format!("it must be {}, and is {}", self.words(), found(value)));
        }
        match self {
            Required(kind) => kind.check(value, path),
            ListOf(kind) => {
                let mut items = value.as_array().into_iter().flatten().enumerate();
                items.try_for_each(|(index, item)| kind.check(item, &format!("{path}[{index}]")))
            }
            Object(fields) => {
                fields.iter().try_for_each(|(name, kind)| kind.check_field(value, name, path))
            }
            _ => Ok(()),
        }
    }

    fn check_field(&self, object: &Value, name: &str, path: &str) -> Result<(), InvalidConfig> {
        let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match (object.get(name), self) {
            (None | Some(Value::Null), Required(_)) => refuse(path, "it is missing"),
            (None | Some(Value::Null), _) => Ok(()),
            (Some(value), kind) => kind.check(value, &path),
        }
    }

    fn is(&self, value: &Value) -> bool {
        match self {
            Bool => value.is_boolean(),
            Number => value.is_number(),
            Whole(most) => value.as_u64().is_some_and(|number| number <= *most),
            Text => value.is_string(),
            Code => value.is_string() || value.is_number(),
            ListOf(_) => value.is_array(),
            Object(_) => value.is_object(),
            Required(kind) => kind.is(value),
        }
    }

    fn words(&self) -> String {
        match self {
            Bool => "true or false".to_owned(),
            Number => "a number".to_owned(),
            Whole(most) => format!("a whole number from 0 to {most}"),
            Text => "a string".to_owned(),
            Code => "a status code".to_owned(),
            ListOf(_) => "a list".to_owned(),
            Object(_) => "an object".to_owned(),
            Required(kind) => kind.words(),
        }
    }
}

fn found(value: &Value) -> String {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(_) => "a string".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
