// Clients of the workers of the KCL for Java, for services that are served over TLS.

import java.net.URI;
import java.time.Duration;
import software.amazon.awssdk.awscore.client.builder.AwsAsyncClientBuilder;
import software.amazon.awssdk.awscore.client.builder.AwsClientBuilder;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.SdkHttpConfigurationOption;
import software.amazon.awssdk.http.nio.netty.Http2Configuration;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.utils.AttributeMap;

final class Clients {
    /** With what the KCL's own factory of clients sets, and a server's certificate that nobody has signed. */
    static <B extends AwsAsyncClientBuilder<B, C> & AwsClientBuilder<B, C>, C> C client(
            B builder, String endpoint, Protocol protocol) {
        var anyCertificate = AttributeMap.builder().put(SdkHttpConfigurationOption.TRUST_ALL_CERTIFICATES, true).build();
        var http = NettyNioAsyncHttpClient.builder().protocol(protocol);
        if (protocol == Protocol.HTTP2) {
            http.maxConcurrency(Integer.MAX_VALUE).http2Configuration(Http2Configuration.builder()
                    .initialWindowSize(512 * 1024)
                    .healthCheckPingPeriod(Duration.ofMinutes(1))
                    .build());
        }
        return builder.httpClient(http.buildWithDefaults(anyCertificate))
                .endpointOverride(URI.create(System.getenv(endpoint)))
                .build();
    }
}
