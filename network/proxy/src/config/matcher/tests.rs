use super::*;

#[test]
fn a_pattern_matches_a_whole_value_and_must_stand_by_itself() {
    let pattern = Pattern::new("a|bc").unwrap();
    assert!(pattern.matches("a") && pattern.matches("bc"));
    assert!(!pattern.matches("ab") && !pattern.matches("xbc"));
    for broken in ["(", "a)(b", "[z-a]"] {
        let refused = Pattern::new(broken).unwrap_err().to_string();
        assert!(refused.contains("is not a regular expression"), "{refused}");
    }
}

#[test]
fn patterns_are_equal_by_their_expression() {
    assert_eq!(Pattern::new("a+").unwrap(), Pattern::new("a+").unwrap());
    assert_ne!(Pattern::new("a+").unwrap(), Pattern::new("aa*").unwrap());
}
