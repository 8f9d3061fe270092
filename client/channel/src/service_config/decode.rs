//! Decodes and validates the JSON of a service config.

use std::{
    collections::{HashMap, HashSet},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use quartet_wire::code;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};
use tonic::Code;

use super::{
    config::{
        Balancing, CallPolicy, HedgingPolicy, MethodConfig, RetryPolicy, RetryThrottling,
        ServiceConfig,
    },
    invalid::{InvalidConfig, refuse},
};
use crate::backoff::Exponential;

/// Larger values of `maxAttempts` are reduced to this, as every gRPC library does.
const MAX_ATTEMPTS: u32 = 5;

impl FromStr for ServiceConfig {
    type Err = InvalidConfig;

    fn from_str(text: &str) -> Result<Self, InvalidConfig> {
        let mut value: Value = match serde_json::from_str(text) {
            Ok(value @ Value::Object(_)) => value,
            Ok(_) => return refuse("service config", "it is not a JSON object"),
            Err(error) => return refuse("service config", error.to_string()),
        };
        normalize_keys(&mut value);
        shape::check(&value)?;
        let mut ignored = Vec::new();
        let mut note =
            |path: serde_ignored::Path<'_>| ignored.push(path.to_string().replace(".?", ""));
        let observed = serde_ignored::Deserializer::new(value, &mut note);
        let raw: Raw =
            serde_path_to_error::deserialize(observed).map_err(|error| InvalidConfig {
                path: error.path().to_string().replace(".?", ""),
                problem: error.into_inner().to_string(),
            })?;
        raw.check(ignored)
    }
}

/// Every known key, as the schema spells it.
const KEYS: [&str; 27] = [
    "loadBalancingConfig",
    "loadBalancingPolicy",
    "pick_first",
    "round_robin",
    "shuffleAddressList",
    "methodConfig",
    "name",
    "service",
    "method",
    "waitForReady",
    "timeout",
    "maxRequestMessageBytes",
    "maxResponseMessageBytes",
    "retryPolicy",
    "maxAttempts",
    "initialBackoff",
    "maxBackoff",
    "backoffMultiplier",
    "retryableStatusCodes",
    "hedgingPolicy",
    "hedgingDelay",
    "nonFatalStatusCodes",
    "retryThrottling",
    "maxTokens",
    "tokenRatio",
    "healthCheckConfig",
    "serviceName",
];

/// Corrects the case of known keys to that of the schema.
fn normalize_keys(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(normalize_keys),
        Value::Object(object) => {
            for (key, mut value) in std::mem::take(object) {
                normalize_keys(&mut value);
                let known = KEYS.into_iter().find(|known| known.eq_ignore_ascii_case(&key));
                object.insert(known.map_or(key, str::to_owned), value);
            }
        }
        _ => {}
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    load_balancing_config: Option<Vec<Map<String, Value>>>,
    load_balancing_policy: Option<String>,
    method_config: Option<Vec<RawMethod>>,
    retry_throttling: Option<RawThrottling>,
    health_check_config: Option<RawHealthCheck>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMethod {
    name: Option<Vec<RawName>>,
    wait_for_ready: Option<bool>,
    timeout: Option<JsonDuration>,
    max_request_message_bytes: Option<u64>,
    max_response_message_bytes: Option<u64>,
    retry_policy: Option<RawRetry>,
    hedging_policy: Option<RawHedging>,
}

#[derive(Deserialize)]
struct RawName {
    service: Option<String>,
    method: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawRetry {
    max_attempts: u32,
    initial_backoff: JsonDuration,
    max_backoff: JsonDuration,
    backoff_multiplier: f64,
    retryable_status_codes: Vec<JsonCode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawHedging {
    max_attempts: u32,
    hedging_delay: Option<JsonDuration>,
    non_fatal_status_codes: Option<Vec<JsonCode>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawThrottling {
    max_tokens: f64,
    token_ratio: f64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawHealthCheck {
    service_name: Option<String>,
}

impl Raw {
    fn check(self, ignored: Vec<String>) -> Result<ServiceConfig, InvalidConfig> {
        let mut methods = HashMap::new();
        for (index, raw) in self.method_config.unwrap_or_default().into_iter().enumerate() {
            let path = format!("methodConfig[{index}]");
            raw.add_to(&mut methods, &path)?;
        }
        Ok(ServiceConfig {
            balancing: balancing(self.load_balancing_config, self.load_balancing_policy)?,
            retry_throttling: self.retry_throttling.map(RawThrottling::check).transpose()?,
            health_check: self.health_check_config.and_then(|check| check.service_name),
            methods,
            default_method: Arc::default(),
            ignored,
        })
    }
}

/// The first known policy of the list.
fn balancing(
    list: Option<Vec<Map<String, Value>>>,
    name: Option<String>,
) -> Result<Balancing, InvalidConfig> {
    let Some(list) = list else { return named(name) };
    for (index, policy) in list.into_iter().enumerate() {
        let path = format!("loadBalancingConfig[{index}]");
        let mut policies = policy.into_iter();
        let (Some((name, config)), None) = (policies.next(), policies.next()) else {
            return refuse(path, "it must have exactly one key, the name of a policy");
        };
        match name.as_str() {
            "round_robin" => {
                shape::check_policy(&config, &format!("{path}.{name}"))?;
                return Ok(Balancing::RoundRobin);
            }
            "pick_first" => return pick_first(config, &format!("{path}.{name}")),
            _ => {}
        }
    }
    refuse("loadBalancingConfig", "it has no known policy; pick_first and round_robin are known")
}

fn pick_first(config: Value, path: &str) -> Result<Balancing, InvalidConfig> {
    shape::check_policy(&config, path)?;
    let shuffle = config.get("shuffleAddressList").and_then(Value::as_bool);
    Ok(Balancing::PickFirst { shuffle: shuffle.unwrap_or_default() })
}

/// The deprecated way to name a policy. As in grpc-go, an unknown name means the default.
fn named(name: Option<String>) -> Result<Balancing, InvalidConfig> {
    match name.as_deref().map(str::to_ascii_lowercase).as_deref() {
        Some("round_robin") => Ok(Balancing::RoundRobin),
        _ => Ok(Balancing::default()),
    }
}

impl RawMethod {
    fn add_to(
        mut self,
        methods: &mut HashMap<String, Arc<MethodConfig>>,
        path: &str,
    ) -> Result<(), InvalidConfig> {
        let names = self.name.take().unwrap_or_default();
        let config = Arc::new(self.check(path)?);
        for (index, name) in names.into_iter().enumerate() {
            let path = format!("{path}.name[{index}]");
            if methods.insert(name.key(&path)?, config.clone()).is_some() {
                return refuse(path, "the name is listed twice");
            }
        }
        Ok(())
    }

    fn check(self, path: &str) -> Result<MethodConfig, InvalidConfig> {
        let policy = match (self.retry_policy, self.hedging_policy) {
            (Some(_), Some(_)) => {
                return refuse(path, "retryPolicy and hedgingPolicy exclude each other");
            }
            (Some(retry), None) => CallPolicy::Retry(retry.check(&format!("{path}.retryPolicy"))?),
            (None, Some(hedging)) => {
                CallPolicy::Hedge(hedging.check(&format!("{path}.hedgingPolicy"))?)
            }
            (None, None) => CallPolicy::Once,
        };
        Ok(MethodConfig {
            wait_for_ready: self.wait_for_ready.unwrap_or_default(),
            timeout: self.timeout.map(|timeout| timeout.0),
            max_request_message_bytes: self.max_request_message_bytes,
            max_response_message_bytes: self.max_response_message_bytes,
            policy,
        })
    }
}

impl RawName {
    fn key(self, path: &str) -> Result<String, InvalidConfig> {
        match (self.service.unwrap_or_default(), self.method.unwrap_or_default()) {
            (service, method) if service.is_empty() && !method.is_empty() => {
                refuse(path, format!("the method {method:?} needs a service"))
            }
            (service, _) if service.is_empty() => Ok(String::new()),
            (service, method) => Ok(format!("{service}/{method}")),
        }
    }
}

fn attempts(number: u32, path: &str) -> Result<u32, InvalidConfig> {
    match number {
        0 | 1 => refuse(format!("{path}.maxAttempts"), "it must be at least 2"),
        _ => Ok(number.min(MAX_ATTEMPTS)),
    }
}

fn positive(duration: JsonDuration, path: &str, key: &str) -> Result<Duration, InvalidConfig> {
    match duration.0 {
        Duration::ZERO => refuse(format!("{path}.{key}"), "it must be more than 0s"),
        duration => Ok(duration),
    }
}

impl RawRetry {
    fn check(self, path: &str) -> Result<RetryPolicy, InvalidConfig> {
        let initial = positive(self.initial_backoff, path, "initialBackoff")?;
        let max = positive(self.max_backoff, path, "maxBackoff")?;
        if self.backoff_multiplier <= 0.0 {
            return refuse(format!("{path}.backoffMultiplier"), "it must be more than 0");
        }
        if self.retryable_status_codes.is_empty() {
            return refuse(
                format!("{path}.retryableStatusCodes"),
                "it must list at least one code",
            );
        }
        Ok(RetryPolicy {
            max_attempts: attempts(self.max_attempts, path)?,
            backoff: Exponential::new(initial, max, self.backoff_multiplier),
            retryable_status_codes: codes(self.retryable_status_codes),
        })
    }
}

impl RawHedging {
    fn check(self, path: &str) -> Result<HedgingPolicy, InvalidConfig> {
        Ok(HedgingPolicy {
            max_attempts: attempts(self.max_attempts, path)?,
            hedging_delay: self.hedging_delay.map(|delay| delay.0).unwrap_or_default(),
            non_fatal_status_codes: codes(self.non_fatal_status_codes.unwrap_or_default()),
        })
    }
}

fn codes(codes: Vec<JsonCode>) -> HashSet<Code> {
    codes.into_iter().map(|code| code.0).collect()
}

impl RawThrottling {
    fn check(self) -> Result<RetryThrottling, InvalidConfig> {
        if !(self.max_tokens > 0.0 && self.max_tokens <= 1000.0) {
            return refuse("retryThrottling.maxTokens", "it must be more than 0 and at most 1000");
        }
        if self.token_ratio <= 0.0 {
            return refuse("retryThrottling.tokenRatio", "it must be more than 0");
        }
        Ok(RetryThrottling { max_tokens: self.max_tokens, token_ratio: self.token_ratio })
    }
}

/// A duration in protobuf's JSON, `1.5s`: a decimal number of seconds with at most nine digits
/// after the point.
#[derive(Debug, PartialEq)]
struct JsonDuration(Duration);

impl JsonDuration {
    /// Protobuf's limit: about 10,000 years.
    const MAX_SECONDS: u64 = 315_576_000_000;

    fn parse(text: &str) -> Option<Self> {
        let number = text.strip_suffix('s')?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.len() + fraction.len() == 0
            || fraction.len() > 9
            || !digits(whole)
            || !digits(fraction)
        {
            return None;
        }
        let seconds = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let nanos = format!("{fraction:0<9}").parse().ok()?;
        (seconds <= Self::MAX_SECONDS).then(|| Self(Duration::new(seconds, nanos)))
    }
}

impl<'de> Deserialize<'de> for JsonDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let problem = || de::Error::custom(format!("{text:?} is not a duration like 0.5s"));
        Self::parse(&text).ok_or_else(problem)
    }
}

/// A status code: its name or its number.
struct JsonCode(Code);

impl<'de> Deserialize<'de> for JsonCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let code = match &value {
            Value::String(name) => code::from_name(name),
            Value::Number(number) => number
                .as_i64()
                .filter(|number| (0..17).contains(number))
                .map(|number| Code::from_i32(i32::try_from(number).unwrap_or_default())),
            _ => None,
        };
        code.map(Self).ok_or_else(|| de::Error::custom(format!("{value} is not a status code")))
    }
}

mod shape;

#[cfg(test)]
mod tests;
