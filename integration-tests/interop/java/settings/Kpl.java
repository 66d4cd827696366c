// Prints the settings of the KPL for Java with their defaults.

import software.amazon.kinesis.producer.KinesisProducerConfiguration;

final class Kpl {
    public static void main(String[] args) throws Exception {
        Fields.print(new KinesisProducerConfiguration());
    }
}
