//! Settings of a bucket for backups.

use super::*;

const KEYS: &str = "access_key_id = \"id\"\nsecret_access_key = \"hidden-key\"\n";

fn refused(lines: &str) -> String {
    let told = refusal(&format!("[backup.s3]\n{lines}"));
    assert!(!told.contains("hidden-key"), "{told}");
    told
}

#[test]
fn contradictions_and_what_has_no_effect_are_refused_with_their_line() {
    let url = "url = \"s3://b\"\n";
    for (lines, told) in [
        (
            "region = \"x\"\n".to_owned(),
            ":2: `backup.s3.region` has no effect without",
        ),
        (url.to_owned(), "`backup.s3.access_key_id` must be set"),
        (
            format!("{url}access_key_id = \"id\"\n"),
            "`backup.s3.secret_access_key_file` must be set",
        ),
        (
            format!("{url}secret_access_key = \"hidden-key\"\n"),
            "`backup.s3.access_key_id` must be set",
        ),
        (
            format!("{url}{KEYS}secret_access_key_file = \"f\"\n"),
            "cannot be together with",
        ),
        (
            format!("{url}{KEYS}credentials = \"platform\"\n"),
            ":3: `backup.s3.access_key_id` has no effect unless",
        ),
        (
            format!("{url}{KEYS}allow_http = true\n"),
            "has no effect unless http:// is in",
        ),
        (
            format!("{url}secret_access_key_file = \"/nowhere\"\n"),
            "cannot read /nowhere",
        ),
        (
            format!("{url}secret_access_key = 7\n"),
            "must be text in quotes, not empty",
        ),
        (
            format!("{url}credentials = \"none\"\n"),
            "must be keys or platform",
        ),
    ] {
        let said = refused(&lines);
        assert!(said.contains(told), "{lines}: {said}");
    }
    let both = format!("[backup]\ndir = \"d\"\n[backup.s3]\n{url}{KEYS}");
    let said = refusal(&both);
    assert!(
        said.contains(":4: `backup.s3.url` cannot be together with `backup.dir`"),
        "{said}"
    );
}

/// What is written there may be a key: none of it is repeated.
#[test]
fn addresses_that_are_none_are_refused_and_not_repeated() {
    for url in [
        "s3://",
        "s3:///p",
        "b",
        "https://b",
        "s3://id:hidden-key@b",
        "s3://b/../p",
        "s3://b//p",
        "s3://b/p?hidden-key",
        "s3://b/ä",
    ] {
        let said = refused(&format!("url = \"{url}\"\n{KEYS}"));
        assert!(
            said.contains("must be s3://BUCKET or s3://BUCKET/PREFIX"),
            "{url}: {said}"
        );
    }
    for good in ["s3://b", "s3://b/p", "s3://b-1.c/of/us_2/v=1"] {
        let is_plain = !good.contains('=');
        assert_eq!(
            S3Config::new(good, S3Credentials::Platform).is_ok(),
            is_plain,
            "{good}"
        );
    }
    let trailing = S3Config::new("s3://b/p/", S3Credentials::Platform).unwrap();
    assert_eq!(trailing.url(), "s3://b/p");
}

#[cfg(not(feature = "s3"))]
#[test]
fn a_program_without_the_feature_says_how_to_build_one_with_it() {
    let said = refused(&format!("url = \"s3://b/p\"\n{KEYS}"));
    assert!(
        said.contains(":2: `backup.s3.url` needs a program that is built for it"),
        "{said}"
    );
    assert!(said.contains("--features s3"), "{said}");
    let config = S3Config::new("s3://b", S3Credentials::Platform).unwrap();
    assert!(config.backups().is_err());
}

#[cfg(feature = "s3")]
#[test]
fn keys_come_from_settings_or_else_from_the_variables_of_amazon() {
    let url = "[backup.s3]\nurl = \"s3://b/p\"\n";
    let variables = [
        ("AWS_ACCESS_KEY_ID", "theirs"),
        ("AWS_SECRET_ACCESS_KEY", "hidden-key"),
        ("AWS_SESSION_TOKEN", "lent"),
        ("AWS_DEFAULT_REGION", "there-1"),
    ];
    let s3 = |toml: &str| {
        let loaded = load_with(toml, &variables, Overrides::new()).unwrap();
        let shown = format!("{:?}{}", loaded.config, loaded.show());
        assert!(
            !shown.contains("hidden-key") && !shown.contains("theirs"),
            "{shown}"
        );
        loaded.config.backup.s3.unwrap()
    };
    let heard = s3(url);
    let token = Some(Secret::new("lent"));
    let expected = S3Credentials::Keys {
        id: "theirs".to_owned(),
        secret: Secret::new("hidden-key"),
        session_token: token,
    };
    assert!(heard.credentials == expected && heard.region == "there-1" && !heard.path_style);
    let set = s3(&format!("{url}{KEYS}region = \"here-1\"\n"));
    assert!(matches!(set.credentials, S3Credentials::Keys { id, session_token: None, .. } if id == "id"));
    assert_eq!(set.region, "here-1");
    let lent = s3(&format!("{url}credentials = \"platform\"\n"));
    assert_eq!(lent.credentials, S3Credentials::Platform);
    for (line, told) in [
        ("endpoint = \"http://h:1\"\n", "allow_http"),
        ("endpoint = \"h:1\"\n", "must be https://host"),
        ("endpoint = \"https://u:p@h\"\n", "must be https://host"),
        ("region = \"a b\"\n", "must be a name"),
    ] {
        let said = refused(&format!("url = \"s3://b\"\n{KEYS}{line}"));
        assert!(said.contains(told), "{line}: {said}");
    }
}
