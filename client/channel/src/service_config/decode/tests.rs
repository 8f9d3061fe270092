//! Service configs that parse, and service configs that are refused with the path of the error.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(text: &str) -> ServiceConfig {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The service config of the grpc-go blog series' part on retries, verbatim.
const FROM_THE_BLOG: &str = r#"{
    "methodConfig": [{
      "name": [{"service": "grpc.examples.echo.Echo"}],
      "waitForReady": true,
      "retryPolicy": {
          "MaxAttempts": 4,
          "InitialBackoff": ".01s",
          "MaxBackoff": ".01s",
          "BackoffMultiplier": 1.0,
          "RetryableStatusCodes": [ "UNAVAILABLE" ]
      }
    }]}"#;

#[test]
fn the_config_of_the_blog_series_parses() {
    let config = read(FROM_THE_BLOG);
    let method = config.method("/grpc.examples.echo.Echo/UnaryEcho");
    assert!(method.wait_for_ready);
    let hundredth = Duration::from_millis(10);
    assert_eq!(
        method.policy,
        CallPolicy::Retry(RetryPolicy {
            max_attempts: 4,
            backoff: Exponential::new(hundredth, hundredth, 1.0),
            retryable_status_codes: [Code::Unavailable].into(),
        })
    );
    assert_eq!(config.method("/other.Service/Method"), &Arc::default());
    assert_eq!(config.ignored, [""; 0]);
}

#[test]
fn the_most_specific_name_applies_alone() {
    let config = read(
        r#"{"methodConfig": [
        {"name": [{}], "timeout": "1s"},
        {"name": [{"service": "a.B"}], "timeout": "2s"},
        {"name": [{"service": "a.B", "method": "C"}, {"service": "d.E", "method": ""}],
         "waitForReady": true}]}"#,
    );
    let timeout = |path| config.method(path).timeout.map(|timeout| timeout.as_secs());
    assert_eq!(timeout("/x.Y/Z"), Some(1));
    assert_eq!(timeout("/a.B/Other"), Some(2));
    assert_eq!(timeout("/a.B/C"), None);
    assert!(config.method("/d.E/Any").wait_for_ready);
}

#[test]
fn the_first_known_balancing_policy_applies() {
    let balancing = |text| read(text).balancing;
    assert_eq!(balancing("{}"), Balancing::PickFirst { shuffle: false });
    assert_eq!(balancing(r#"{"loadBalancingPolicy": "round_robin"}"#), Balancing::RoundRobin);
    assert_eq!(balancing(r#"{"loadBalancingPolicy": "ROUND_ROBIN"}"#), Balancing::RoundRobin);
    assert_eq!(
        balancing(
            r#"{"loadBalancingConfig": [{"xds": {}}, {"round_robin": {}}, {"pick_first": {}}]}"#
        ),
        Balancing::RoundRobin
    );
    assert_eq!(
        balancing(
            r#"{"loadBalancingPolicy": "round_robin",
                "loadBalancingConfig": [{"pick_first": {"shuffleAddressList": true}}]}"#
        ),
        Balancing::PickFirst { shuffle: true }
    );
}

#[test]
fn unknown_keys_are_listed_and_attempts_are_capped() {
    let config = read(
        r#"{"colour": 1, "methodConfig": [
            {"name": [{}], "priority": 2, "hedgingPolicy": {"maxAttempts": 9}}]}"#,
    );
    assert_eq!(config.ignored, ["colour", "methodConfig.0.priority"]);
    let CallPolicy::Hedge(hedging) = &config.method("/a.B/C").policy else { panic!() };
    assert_eq!((hedging.max_attempts, hedging.hedging_delay), (5, Duration::ZERO));
}

#[test]
fn throttling_health_checking_limits_and_hedging_parse() {
    let config = read(
        r#"{"retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
        "healthCheckConfig": {"serviceName": ""}, "methodConfig": [
        {"name": [{}], "maxRequestMessageBytes": 1, "maxResponseMessageBytes": 2,
        "hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "0.5s",
        "nonFatalStatusCodes": [14, "ABORTED"]}}]}"#,
    );
    assert_eq!(
        config.retry_throttling,
        Some(RetryThrottling { max_tokens: 10.0, token_ratio: 0.1 })
    );
    assert_eq!(config.health_check.as_deref(), Some(""));
    let method = config.method("/a.B/C");
    assert_eq!(
        (method.max_request_message_bytes, method.max_response_message_bytes),
        (Some(1), Some(2))
    );
    let CallPolicy::Hedge(hedging) = &method.policy else { panic!() };
    assert_eq!(hedging.non_fatal_status_codes, [Code::Unavailable, Code::Aborted].into());
}

fn with_retry(key: &str, value: Value) -> String {
    let mut policy = json!({"maxAttempts": 2, "initialBackoff": "1s", "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"]});
    policy[key] = value;
    json!({"methodConfig": [{"name": [{}], "retryPolicy": policy}]}).to_string()
}

#[test]
fn an_invalid_retry_policy_is_refused_with_its_path() {
    for (key, value) in [
        ("maxAttempts", json!(1)),
        ("maxAttempts", json!("4")),
        ("maxAttempts", json!(-1)),
        ("initialBackoff", json!("0s")),
        ("initialBackoff", json!(1)),
        ("maxBackoff", json!("-1s")),
        ("maxBackoff", json!("1")),
        ("backoffMultiplier", json!(0)),
        ("retryableStatusCodes", json!([])),
    ] {
        let text = with_retry(key, value);
        let error = text.parse::<ServiceConfig>().expect_err(&text);
        assert_eq!(error.path, format!("methodConfig[0].retryPolicy.{key}"), "{text}: {error}");
    }
    let error =
        with_retry("retryableStatusCodes", json!(["GONE"])).parse::<ServiceConfig>().unwrap_err();
    assert_eq!(error.path, "methodConfig[0].retryPolicy.retryableStatusCodes[0]");
}

#[test]
fn any_other_invalid_value_is_refused_with_its_path() {
    for (text, path) in [
        ("", "service config"),
        ("[]", "service config"),
        (r#"{"loadBalancingConfig": {}}"#, "loadBalancingConfig"),
        (r#"{"loadBalancingConfig": []}"#, "loadBalancingConfig"),
        (r#"{"loadBalancingConfig": [{"grpclb": {}}]}"#, "loadBalancingConfig"),
        (r#"{"loadBalancingConfig": [{}]}"#, "loadBalancingConfig[0]"),
        (
            r#"{"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": 1}}]}"#,
            "loadBalancingConfig[0].pick_first.shuffleAddressList",
        ),
        (r#"{"methodConfig": [{"name": [{"method": "m"}]}]}"#, "methodConfig[0].name[0]"),
        (
            r#"{"methodConfig": [{"name": [{"service": "s"}, {"service": "s"}]}]}"#,
            "methodConfig[0].name[1]",
        ),
        (r#"{"methodConfig": [{"timeout": "soon"}]}"#, "methodConfig[0].timeout"),
        (r#"{"methodConfig": [{"waitForReady": "yes"}]}"#, "methodConfig[0].waitForReady"),
        (
            r#"{"retryThrottling": {"maxTokens": 1001, "tokenRatio": 1}}"#,
            "retryThrottling.maxTokens",
        ),
        (r#"{"retryThrottling": {"maxTokens": 1, "tokenRatio": 0}}"#, "retryThrottling.tokenRatio"),
    ] {
        let error = text.parse::<ServiceConfig>().expect_err(text);
        assert_eq!(error.path, path, "{text}: {error}");
    }
}

/// serde takes `[10, 0.1]` for a struct of two numbers, and its messages name types of Rust.
#[test]
fn an_array_is_no_object_anywhere_and_messages_name_no_type_of_rust() {
    let (field, object) = ("it must be an object, and is a list", "it must be an object, and is");
    for (text, path, problem) in [
        (r#"{"retryThrottling": [10, 0.1]}"#, "retryThrottling", field),
        (r#"{"healthCheckConfig": [""]}"#, "healthCheckConfig", field),
        (r#"{"methodConfig": [[[{}], true]]}"#, "methodConfig[0]", field),
        (r#"{"methodConfig": [{"name": [["s", "m"]]}]}"#, "methodConfig[0].name[0]", field),
        (
            r#"{"methodConfig": [{"retryPolicy": [2, "1s", "1s", 1, [14]]}]}"#,
            "methodConfig[0].retryPolicy",
            field,
        ),
        (r#"{"methodConfig": [{"hedgingPolicy": [2]}]}"#, "methodConfig[0].hedgingPolicy", field),
        (
            r#"{"loadBalancingConfig": [{"pick_first": [true]}]}"#,
            "loadBalancingConfig[0].pick_first",
            field,
        ),
        (
            r#"{"loadBalancingConfig": [{"round_robin": [true]}]}"#,
            "loadBalancingConfig[0].round_robin",
            field,
        ),
        (r#"{"methodConfig": [null]}"#, "methodConfig[0]", &format!("{object} null")),
        (r#"{"retryThrottling": {"maxTokens": 1}}"#, "retryThrottling.tokenRatio", "it is missing"),
        (
            r#"{"methodConfig": [{"hedgingPolicy": {"maxAttempts": null}}]}"#,
            "methodConfig[0].hedgingPolicy.maxAttempts",
            "it is missing",
        ),
        (
            r#"{"methodConfig": [{"hedgingPolicy": {"maxAttempts": -1}}]}"#,
            "methodConfig[0].hedgingPolicy.maxAttempts",
            "it must be a whole number from 0 to 4294967295, and is -1",
        ),
        (
            r#"{"methodConfig": [{"waitForReady": "yes"}]}"#,
            "methodConfig[0].waitForReady",
            "it must be true or false, and is a string",
        ),
    ] {
        let error = text.parse::<ServiceConfig>().expect_err(text);
        assert_eq!((error.path.as_str(), error.problem.as_str()), (path, problem), "{text}");
    }
}

/// protobuf's JSON mapping: `null` is accepted for every field, as its default.
#[test]
fn null_is_an_absent_field() {
    let nulls = r#"{"loadBalancingConfig": null, "loadBalancingPolicy": null,
        "methodConfig": [{"name": [{"service": null, "method": null}], "waitForReady": null,
            "timeout": null, "maxRequestMessageBytes": null, "maxResponseMessageBytes": null,
            "retryPolicy": null,
            "hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": null,
                "nonFatalStatusCodes": null}}],
        "retryThrottling": null, "healthCheckConfig": {"serviceName": null}}"#;
    let absent = r#"{"methodConfig": [{"name": [{}], "hedgingPolicy": {"maxAttempts": 2}}]}"#;
    assert_eq!(read(nulls), read(absent));
    for text in [
        r#"{"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": null}}]}"#,
        r#"{"loadBalancingConfig": [{"pick_first": null}], "methodConfig": null}"#,
        r#"{"healthCheckConfig": null}"#,
    ] {
        assert_eq!(read(text), ServiceConfig::default(), "{text}");
    }
}

#[test]
fn durations_parse_as_in_grpc_go() {
    for (text, nanos) in
        [("1s", 1_000_000_000), (".01s", 10_000_000), ("1.s", 1_000_000_000), ("0.000000001s", 1)]
    {
        assert_eq!(
            JsonDuration::parse(text),
            Some(JsonDuration(Duration::from_nanos(nanos))),
            "{text}"
        );
    }
    for text in [
        "",
        "s",
        ".s",
        "1",
        "1m",
        "1.0000000001s",
        "1.2.3s",
        "+1s",
        "315576000001s",
        "99999999999999999999s",
    ] {
        assert_eq!(JsonDuration::parse(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in r#"[\[\]{}":,a-zA-Z0-9. -]{0,200}"#) {
        let _ = text.parse::<ServiceConfig>();
    }
}
