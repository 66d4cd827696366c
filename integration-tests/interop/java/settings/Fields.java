// Settings of an object and their defaults, read from its fields. A line each: name, tabulator, default.

import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.Proxy;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ThreadPoolExecutor;

final class Fields {
    /** Stands for a client or a factory that an application supplies. */
    static <T> T given(Class<T> type) {
        return type.cast(Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, (proxy, method, args) -> null));
    }

    /** Prints the settings of these objects, each below the name of its class. */
    static void print(Object... objects) throws IllegalAccessException {
        for (var object : objects) {
            print(object.getClass().getSimpleName() + ".", object);
        }
    }

    /** Prints all fields of an object; a field whose type is a class of settings itself as its own fields, below its name. */
    private static void print(String prefix, Object settings) throws IllegalAccessException {
        for (var field : of(settings)) {
            var value = value(field, settings);
            if (isSettings(value)) {
                print(prefix + field.getName() + ".", value);
            } else {
                System.out.println(prefix + field.getName() + "\t" + shown(value));
            }
        }
    }

    /** Value of the field of this name, of the objects or else of settings within them; null if there is none. */
    static Object find(String name, List<?> settings) throws IllegalAccessException {
        var inner = new ArrayList<>();
        for (var object : settings) {
            for (var field : of(object)) {
                var value = value(field, object);
                if (field.getName().equals(name) && value != null) {
                    return value;
                }
                if (isSettings(value)) {
                    inner.add(value);
                }
            }
        }
        return inner.isEmpty() ? null : find(name, inner);
    }

    static Object value(Field field, Object of) throws IllegalAccessException {
        field.setAccessible(true);
        return field.get(of);
    }

    private static List<Field> of(Object settings) {
        var fields = new ArrayList<Field>();
        for (Class<?> type = settings.getClass(); type != Object.class; type = type.getSuperclass()) {
            for (var field : type.getDeclaredFields()) {
                if (!Modifier.isStatic(field.getModifiers())) {
                    fields.add(field);
                }
            }
        }
        return fields;
    }

    private static boolean isSettings(Object value) {
        return value != null && value.getClass().getSimpleName().endsWith("Config") && !(value instanceof Enum<?>);
    }

    /** A value as the tables have it: an object by the name of its class, a start by its position. */
    static String shown(Object value) throws IllegalAccessException {
        if (value instanceof Optional<?> optional) {
            return shown(optional.orElse(null));
        }
        if (value == null || "".equals(value)) {
            return "none";
        }
        if (Proxy.isProxyClass(value.getClass())) {
            return "given";
        }
        if (value instanceof ThreadPoolExecutor) {
            return "a thread pool";
        }
        if (value instanceof Collection<?> values) {
            return values.isEmpty() ? "none" : String.join(", ", values.stream().map(Object::toString).sorted().toList());
        }
        if (value.equals(Double.MAX_VALUE) || value.equals(Integer.MAX_VALUE) || value.equals(Long.MAX_VALUE)) {
            return "no limit";
        }
        var isPlain = value instanceof Number || value instanceof Boolean || value instanceof String
                || value instanceof Enum<?> || value instanceof Duration;
        if (isPlain) {
            return value.toString();
        }
        var type = value.getClass();
        if (type.getSimpleName().equals("InitialPositionInStreamExtended")) {
            return shown(find("position", List.of(value)));
        }
        return type.isHidden() || type.isAnonymousClass() ? "a function" : type.getSimpleName();
    }
}
