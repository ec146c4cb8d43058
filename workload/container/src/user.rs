//! Who a container runs as: `user[:group]` by number, or by name as the image's own `/etc/passwd` and `/etc/group` say.

/// A resolved user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Groups beside the first.
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// Resolves `text` by the contents of the two files. A number need not be in them, a name must.
pub(crate) fn resolve(text: &str, passwd: &str, group: &str) -> Result<User, String> {
    let (user, wanted_group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    let entry = passwd.lines().filter_map(Entry::parse).find(|entry| match number {
        Some(number) => entry.uid == number,
        None => entry.name == user,
    });
    let uid = match (number, &entry) {
        (Some(number), _) => number,
        (None, Some(entry)) => entry.uid,
        (None, None) => return Err(format!("user {user:?} is not in the image's /etc/passwd: use a number")),
    };
    let gid = match wanted_group.filter(|group| !group.is_empty()) {
        None => entry.as_ref().map_or(0, |entry| entry.gid),
        Some(wanted) => match wanted.parse() {
            Ok(number) => number,
            Err(_) => groups(group)
                .find(|(name, ..)| *name == wanted)
                .map(|(_, number, _)| number)
                .ok_or_else(|| format!("group {wanted:?} is not in the image's /etc/group: use a number"))?,
        },
    };
    // An explicit group stands alone.
    let member = entry.as_ref().map(|entry| entry.name).filter(|_| wanted_group.is_none());
    let others = groups(group).filter(|(.., members)| members.split(',').any(|name| Some(name) == member));
    let groups = others.map(|(_, number, _)| number).filter(|number| *number != gid).collect();
    let home = entry.map(|entry| entry.home).filter(|home| !home.is_empty()).unwrap_or("/").to_owned();
    Ok(User { uid, gid, groups, home })
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Entry<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let _password = fields.next()?;
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let _comment = fields.next();
        Some(Self { name, uid, gid, home: fields.next().unwrap_or("") })
    }
}

/// Name, number and members of each group.
fn groups(file: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    file.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let _password = fields.next()?;
        Some((name, fields.next()?.parse().ok()?, fields.next().unwrap_or("")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:1000:1000::/home/app:\n";
    const GROUP: &str = "root:x:0:\napp:x:1000:\nvideo:x:44:other,app\n";

    #[test]
    fn users_are_found_by_name_and_number() {
        let user = |uid, gid, groups: &[u32], home: &str| User {
            uid,
            gid,
            groups: groups.to_vec(),
            home: home.to_owned(),
        };
        for (text, expected) in [
            ("", user(0, 0, &[], "/root")),
            ("app", user(1000, 1000, &[44], "/home/app")),
            ("1000", user(1000, 1000, &[44], "/home/app")),
            ("app:video", user(1000, 44, &[], "/home/app")),
            ("7", user(7, 0, &[], "/")),
            ("7:8", user(7, 8, &[], "/")),
        ] {
            assert_eq!(resolve(text, PASSWD, GROUP), Ok(expected), "{text}");
        }
        for unknown in ["nobody", "app:nobody", "4294967296"] {
            assert!(resolve(unknown, PASSWD, GROUP).is_err(), "{unknown}");
        }
        assert_eq!(resolve("65534", "", ""), Ok(user(65534, 0, &[], "/")));
    }
}
