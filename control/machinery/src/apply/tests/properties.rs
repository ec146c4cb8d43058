//! What holds for every object.

use proptest::prelude::*;

use super::*;

/// A random object as an applied configuration. It says something that can be owned, which empty lists are not.
fn configuration(object: Value) -> Value {
    let mut object = object;
    object["apiVersion"] = json!("v1");
    object["kind"] = json!("Workload");
    object["spec"]["paused"] = json!(true);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

fn apply_to(live: Option<&Value>, manager: &str, applied: &Value, force: bool) -> Result<Applied, Error> {
    apply(&ApplyRequest { context: by(manager), live, applied, force })
}

proptest! {
    #[test]
    fn applying_twice_changes_nothing(object in sample::object()) {
        let configuration = configuration(object);
        let once = apply_to(None, "a", &configuration, false).unwrap().object;
        let twice = apply_to(Some(&once), "a", &configuration, false).unwrap();
        prop_assert_eq!(twice, Applied { object: once, changed: false });
    }

    #[test]
    fn what_is_applied_by_force_is_there(first in sample::object(), second in sample::object()) {
        let (first, second) = (configuration(first), configuration(second));
        let live = apply_to(None, "a", &first, false).unwrap().object;
        let object = apply_to(Some(&live), "b", &second, true).unwrap().object;
        // So that applying it once more changes nothing.
        let again = apply_to(Some(&object), "b", &second, false).unwrap();
        prop_assert_eq!(again, Applied { object, changed: false });
    }

    #[test]
    fn a_conflict_leaves_no_way_but_force_and_force_has_none(first in sample::object(), second in sample::object()) {
        let (first, second) = (configuration(first), configuration(second));
        let live = apply_to(None, "a", &first, false).unwrap().object;
        prop_assert!(apply_to(Some(&live), "b", &second, true).is_ok());
        match apply_to(Some(&live), "b", &second, false) {
            Err(Error::Conflict(conflicts)) => prop_assert!(!conflicts.is_empty()),
            other => prop_assert!(other.is_ok()),
        }
    }

    #[test]
    fn a_field_set_survives_writing(first in sample::object(), second in sample::object()) {
        let set = shape::owned(shape::Type::root(sample::workload()), &first).below;
        let other = shape::owned(shape::Type::root(sample::workload()), &second).below;
        prop_assert_eq!(&FieldSet::from_value(&set.to_value()).unwrap(), &set);
        prop_assert_eq!(&FieldSet::from_value(&serde_json::from_str(&set.to_string()).unwrap()).unwrap(), &set);
        let both = set.clone().union(other.clone());
        prop_assert_eq!(&both.clone().difference(&other).union(set.intersection(&other)), &set);
        prop_assert_eq!(both.intersection(&set), set);
    }

    #[test]
    fn an_update_to_the_same_leaves_all_as_it_was(first in sample::object(), second in sample::object()) {
        let live = updated(None, "a", configuration(first));
        let mut second = configuration(second);
        second["metadata"]["managedFields"] = live["metadata"]["managedFields"].clone();
        let object = updated(Some(&live), "b", second);
        prop_assert_eq!(updated(Some(&object), "c", object.clone()), object);
    }

    #[test]
    fn any_values_are_written_or_refused(live in sample::any_value(), wanted in sample::any_value(), entries in sample::any_value()) {
        let mut live = live;
        if let Some(fields) = live.as_object_mut() {
            fields.insert("metadata".to_owned(), json!({"managedFields": entries}));
        }
        let _ = updated(Some(&live), "u", wanted.clone());
        let _ = updated(None, "u", wanted.clone());
        let mut wanted = wanted;
        if let Some(fields) = wanted.as_object_mut() {
            fields.insert("apiVersion".to_owned(), json!("v1"));
            fields.insert("kind".to_owned(), json!("Workload"));
        }
        let _ = apply_to(Some(&live), "kubectl", &wanted, false);
        let _ = FieldSet::from_value(&wanted);
    }
}
