// Prints the settings of the multi-language daemon for Java with their defaults: the keys of its properties file. Most defaults
// are those of the KCL below it, as the daemon would start it.

import java.beans.Introspector;
import java.beans.PropertyDescriptor;
import java.lang.reflect.InvocationTargetException;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.TreeMap;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.multilang.MultiLangDaemonConfig;
import software.amazon.kinesis.multilang.config.BuilderDynaBean;
import software.amazon.kinesis.multilang.config.FanoutConfigBean;
import software.amazon.kinesis.multilang.config.KinesisClientLibConfigurator;
import software.amazon.kinesis.multilang.config.MultiLangDaemonConfiguration;
import software.amazon.kinesis.processor.ShardRecordProcessorFactory;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

final class Multilang {
    /** Beginnings of the keys of a table, and the field that has its settings. */
    private static final List<String[]> TABLES = List.of(
            new String[] {"coordinatorState", "coordinatorStateTableConfig"},
            new String[] {"workerMetrics", "workerMetricsTableConfig"});

    public static void main(String[] args) throws Exception {
        var properties = new Properties();
        properties.setProperty("applicationName", "the application");
        properties.setProperty("streamName", "the stream");
        properties.setProperty("workerIdentifier", "the worker");
        properties.setProperty("AwsCredentialsProvider", "DefaultCredentialsProvider");
        properties.setProperty("regionName", "us-east-1");
        var daemon = new KinesisClientLibConfigurator().getConfiguration(properties);
        var kcl = kcl(daemon);

        var shown = new TreeMap<String, String>(String.CASE_INSENSITIVE_ORDER);
        for (var constant : MultiLangDaemonConfig.class.getDeclaredFields()) {
            if (constant.getName().startsWith("PROP_")) {
                shown.put((String) Fields.value(constant, null), "none");
            }
        }
        for (var property : properties(MultiLangDaemonConfiguration.class)) {
            if (property.getPropertyType() == BuilderDynaBean.class) {
                shown.put(property.getName(), "none");
            } else if (property.getWriteMethod() != null) {
                shown.put(key(property), value(property, daemon, kcl));
            }
        }
        for (var property : properties(FanoutConfigBean.class)) {
            if (property.getWriteMethod() != null) {
                shown.put("fanoutConfig." + property.getName(), value(property, new FanoutConfigBean(), kcl));
            }
        }
        shown.forEach((name, value) -> System.out.println("MultiLangDaemonConfiguration." + name + "\t" + value));
    }

    /** Settings of the KCL as the daemon would start it, by fan-out, and those of polling. */
    private static List<Object> kcl(MultiLangDaemonConfiguration daemon) throws Exception {
        var resolve = MultiLangDaemonConfiguration.class
                .getDeclaredMethod("resolvedConfiguration", ShardRecordProcessorFactory.class);
        resolve.setAccessible(true);
        var resolved = resolve.invoke(daemon, Fields.given(ShardRecordProcessorFactory.class));
        var parts = new ArrayList<Object>();
        for (var part : resolved.getClass().getDeclaredFields()) {
            parts.add(Fields.value(part, resolved));
        }
        parts.add(new PollingConfig(Fields.given(KinesisAsyncClient.class)));
        return parts;
    }

    private static String value(PropertyDescriptor property, Object daemon, List<Object> kcl) throws Exception {
        // Leases have a field of that name, which is not used.
        var isStart = property.getName().equals("initialPositionInStream");
        var value = Fields.find(isStart ? property.getName() + "Extended" : property.getName(), kcl);
        for (var table : TABLES) {
            if (value == null && property.getName().startsWith(table[0])) {
                var name = property.getName().substring(table[0].length());
                value = Fields.find(Introspector.decapitalize(name), List.of(Fields.find(table[1], kcl)));
            }
        }
        return Fields.shown(value == null && property.getReadMethod() != null ? read(property, daemon) : value);
    }

    /** Null if the property fails as long as nothing is set. */
    private static Object read(PropertyDescriptor property, Object daemon) throws Exception {
        try {
            return property.getReadMethod().invoke(daemon);
        } catch (InvocationTargetException notSet) {
            return null;
        }
    }

    private static PropertyDescriptor[] properties(Class<?> type) throws Exception {
        return Introspector.getBeanInfo(type, Object.class).getPropertyDescriptors();
    }

    /** A key as files spell it: those of credentials begin with a capital letter. */
    private static String key(PropertyDescriptor property) {
        var name = property.getName();
        return name.startsWith("aws") ? "A" + name.substring(1) : name;
    }
}
